import type { JSX } from "preact";
import { Sentence, Title, Trouble, Waiting } from "../parts/basics";
import { useLoaded } from "../load";
import { usePages } from "../pages";
import { count, isOver } from "../text";
import type { Batch, Job, Ready } from "../types";

/** What the service needs, its workers, and what waits for them. */
export function Service(): JSX.Element {
  const ready = useLoaded<Ready>("/health/ready", 5);
  const jobs = usePages<Job>("/jobs", 5).items?.filter((job) => !isOver(job.status));
  const batches = usePages<Batch>("/batches", 5).items?.filter((batch) => !isOver(batch.status));
  if (!ready.value) return ready.error ? <Trouble error={ready.error} /> : <Waiting />;
  const { workers, ...checks } = ready.value.checks;
  return (
    <>
      <Title note={ready.value.status === "ready" ? "Ready for requests" : "Not ready for requests"}>
        Service
      </Title>
      <h2>Workers and queue</h2>
      <p role="status">
        <Sentence
          text={
            workers.status === "ok"
              ? `${count(workers.count, "worker")} running.`
              : (workers.detail ?? "")
          }
        />
      </p>
      {jobs?.length === 0 && batches?.length === 0 && <p>Nothing runs or waits.</p>}
      <ul>
        {jobs?.map((job) => (
          <li key={job.id}>
            Job <a href={`#/jobs/${job.id}`}>{job.name}</a>: {job.status}
          </li>
        ))}
        {batches?.map((batch) => (
          <li key={batch.id}>
            Batch <a href={`#/batches/${batch.id}`}>{batch.name}</a>: {batch.status}
          </li>
        ))}
      </ul>
      <h2>What it needs</h2>
      <table>
        <tbody>
          {Object.entries(checks).map(([name, check]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>
                {check.status}
                {check.detail && <Sentence text={`: ${check.detail}`} />}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
