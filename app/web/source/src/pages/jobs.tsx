import type { JSX } from "preact";
import { Badge, Bar, Title, Trouble, Waiting } from "../parts/basics";
import { useLoaded } from "../load";
import { count, day, isOver, percent, stages } from "../text";
import type { Job, Page } from "../types";

export function Jobs(): JSX.Element {
  const jobs = useLoaded<Page<Job>>("/jobs?limit=100", 5);
  return (
    <>
      <Title note="A job tunes a classifier on labelled photos and finds their wrong labels.">
        Jobs
      </Title>
      {jobs.error && <Trouble error={jobs.error} retry={() => void jobs.reload()} />}
      {!jobs.value && !jobs.error && <Waiting />}
      {jobs.value?.data.length === 0 && (
        <p>
          No jobs yet. <a href="#/new">Drop a folder of photos</a> to start the first.
        </p>
      )}
      <ul class="cards">
        {jobs.value?.data.map((job) => (
          <li key={job.id}>
            <Row job={job} />
          </li>
        ))}
      </ul>
      {jobs.value?.has_more && <p class="quiet">The newest 100 jobs are shown.</p>}
    </>
  );
}

function Row(props: { job: Job }): JSX.Element {
  const { job } = props;
  const tuned = job.metrics?.tuned?.accuracy;
  const rate = job.metrics?.noise_rate;
  return (
    <a class="card row" href={`#/jobs/${job.id}`}>
      <strong>{job.name}</strong>
      <Badge status={job.status} />
      <span class="quiet">{day(job.created_at)}</span>
      {job.dataset.images !== null && job.dataset.images !== undefined && (
        <span class="quiet">{count(job.dataset.images, "photo")}</span>
      )}
      {!isOver(job.status) && (
        <span class="grow">
          {stages[job.progress.stage] ?? job.progress.stage}
          <Bar share={job.progress.fraction} label={`Progress of ${job.name}`} />
        </span>
      )}
      {tuned !== undefined && <span>{percent(tuned)} right</span>}
      {rate && <span>about {percent(rate.estimate, 0)} of the labels wrong</span>}
      {job.error && <span class="grow">{job.error.message}</span>}
    </a>
  );
}
