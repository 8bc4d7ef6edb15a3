import type { JSX } from "preact";
import { Picture, Sentence, Title, Trouble, Waiting } from "../parts/basics";
import { useLoaded } from "../load";
import { useNumbers } from "../numbers";
import { capitalised, fileName } from "../text";
import type { Health, Job } from "../types";

/** What may be wrong with the photos themselves, with pictures and the fix. */
export function HealthPage(props: { id: string }): JSX.Element {
  const health = useLoaded<Health>(`/datasets/${props.id}/health`);
  const numbers = useNumbers(props.id);
  if (!health.value) return health.error ? <Trouble error={health.error} /> : <Waiting />;
  const { summary, findings, job_id } = health.value;
  return (
    <>
      <Title note={<a href={`#/jobs/${job_id}`}>The job that read the photos</a>}>
        Health of the photos
      </Title>
      <p>
        <Sentence text={summary} />
      </p>
      {findings.map((finding) => (
        <section key={finding.kind} class={`card finding ${finding.severity}`}>
          <h2>
            {capitalised(finding.title)}{" "}
            <span class={`badge ${finding.severity}`}>{finding.severity}</span>
          </h2>
          <p>
            <Sentence text={finding.text} />
          </p>
          <p>
            <b>Fix:</b> <Sentence text={finding.fix} />
          </p>
          <ul class="grid small">
            {finding.files?.slice(0, 24).map((one) => (
              <li key={one.file} class="card">
                <Picture
                  dataset={props.id}
                  number={finding.kind === "unreadable" ? null : numbers?.get(one.file)}
                  alt={one.file}
                />
                <span class="name">{fileName(one.file)}</span>
                <span class="quiet">{one.note}</span>
              </li>
            ))}
          </ul>
        </section>
      ))}
    </>
  );
}

/** The same by the id of a job. */
export function JobHealth(props: { id: string }): JSX.Element {
  const job = useLoaded<Job>(`/jobs/${props.id}`);
  if (!job.value) return job.error ? <Trouble error={job.error} /> : <Waiting />;
  return <HealthPage id={job.value.dataset.id} />;
}
