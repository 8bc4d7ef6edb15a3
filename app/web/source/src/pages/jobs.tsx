import type { JSX } from "preact";
import { Badge, Bar, Sentence, Title } from "../parts/basics";
import { List } from "../parts/list";
import { useLoaded } from "../load";
import { usePages } from "../pages";
import { count, day, isOver, percent, stages } from "../text";
import type { Job, Ready } from "../types";

export function Jobs(): JSX.Element {
  const jobs = usePages<Job>("/jobs", 5);
  return (
    <>
      <Title note="A job tunes a classifier on labelled photos and finds their wrong labels.">
        Jobs
      </Title>
      <Queue jobs={jobs.items ?? []} />
      <List
        pages={jobs}
        empty={
          <>
            No jobs yet. <a href="#/new">Drop a folder of photos</a> to start the first.
          </>
        }
        row={(job) => <Row job={job} />}
      />
    </>
  );
}

/** How many workers there are, and what waits for them. */
function Queue(props: { jobs: Job[] }): JSX.Element | null {
  const ready = useLoaded<Ready>("/health/ready", 10);
  const { workers } = ready.value?.checks ?? {};
  if (!workers) return null;
  const some = (...wanted: string[]): number =>
    props.jobs.filter((job) => wanted.includes(job.status)).length;
  if (workers.status !== "ok") {
    return (
      <p class="trouble" role="status">
        <Sentence text={workers.detail ?? ""} /> <a href="#/service">State of the service</a>
      </p>
    );
  }
  return (
    <p class="quiet" role="status">
      <a href="#/service">{count(workers.count, "worker")}</a>, {count(some("validating", "running", "cancelling"), "job")}{" "}
      running, {count(some("queued"), "job")} waiting
    </p>
  );
}

function Row(props: { job: Job }): JSX.Element {
  const { job } = props;
  const accuracy = job.metrics?.[job.metrics.served ?? "tuned"]?.accuracy;
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
      {accuracy !== undefined && <span>{percent(accuracy)} right</span>}
      {rate && <span>about {percent(rate.estimate, 0)} of the labels wrong</span>}
      {job.error && (
        <span class="grow">
          <Sentence text={job.error.message} />
        </span>
      )}
    </a>
  );
}
