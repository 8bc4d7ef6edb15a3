import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, del, post } from "../api";
import { Failure } from "../parts/failure";
import { Badge, Bar, Sentence, Title, Trouble, Waiting } from "../parts/basics";
import { Confirm } from "../parts/confirm";
import { Curve } from "../parts/curve";
import { Result } from "../parts/result";
import { useEvents } from "../events";
import { useLoaded } from "../load";
import { go } from "../router";
import { capitalised, count, day, isOver, seconds, stages } from "../text";
import type { Job, Progress } from "../types";

export function JobPage(props: { id: string }): JSX.Element {
  const job = useLoaded<Job>(`/jobs/${props.id}`);
  const found = job.value;
  const running = found !== undefined && !isOver(found.status);
  const live = useEvents(props.id, running, () => void job.reload());
  if (!found) {
    return job.error ? <Trouble error={job.error} retry={() => void job.reload()} /> : <Waiting />;
  }
  const epochs = running ? live.epochs : (found.metrics?.history ?? live.epochs);
  const { images, classes, corrections, unlabelled } = found.dataset;
  return (
    <>
      <Title
        note={
          <>
            <Badge status={found.status} /> {day(found.created_at)}
            {typeof images === "number" && `, ${count(images, "photo")}`}
            {classes && ` in ${count(classes.length, "class", "classes")}`}
            {unlabelled ? `, ${unlabelled.toLocaleString("en")} more without labels` : ""}
            {found.attempt > 1 && `, attempt ${found.attempt}`}
          </>
        }
      >
        {found.name}
      </Title>
      {corrections && (
        <p>
          Corrected: {count(corrections.relabelled, "label")} changed,{" "}
          {count(corrections.dropped, "photo")} dropped, {count(corrections.kept, "label")}{" "}
          confirmed.{" "}
          {corrections.from_job && <a href={`#/jobs/${corrections.from_job}`}>The job before</a>}
        </p>
      )}
      {running && !live.connected && (
        <p class="trouble" role="status">
          The connection was lost. The page reconnects by itself.
        </p>
      )}
      {running && <Running progress={live.progress ?? found.progress} status={found} />}
      {found.error && <Failure error={found.error} />}
      <Actions job={found} changed={() => void job.reload()} />
      {found.metrics && <Result job={found} metrics={found.metrics} />}
      {epochs.length > 0 && (
        <section>
          <h2>Curves</h2>
          <Curve epochs={epochs} />
        </section>
      )}
      {found.warnings.length > 0 && (
        <section>
          <h2>Warnings</h2>
          <ul>
            {found.warnings.map((text) => (
              <li key={text}>
                <Sentence text={text} />
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

function Running(props: { progress: Progress; status: Job }): JSX.Element {
  // The job itself knows what a queued or cancelling job waits for.
  const waits = props.status.status === "queued" || props.status.status === "cancelling";
  const { stage, fraction, epoch, epochs, eta_seconds, message } = waits
    ? props.status.progress
    : props.progress;
  return (
    <section aria-label="Progress" aria-live="polite">
      <Bar share={fraction ?? 0} label="Progress of the job" />
      <p>
        {waits && message ? <Sentence text={capitalised(message)} /> : (stages[stage] ?? stage)}
        {typeof epoch === "number" && `, epoch ${epoch} of ${epochs}`}
        {typeof eta_seconds === "number" && `, about ${seconds(eta_seconds)} left`}
        {!waits && message && `: ${message}`}
      </p>
    </section>
  );
}

function Actions(props: { job: Job; changed: () => void }): JSX.Element {
  const { job } = props;
  const [error, setError] = useState<ApiError>();
  const run = async (call: () => Promise<void>): Promise<void> => {
    setError(undefined);
    try {
      await call();
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
    }
  };
  const send = (link: string): (() => void) => () =>
    void run(async () => {
      await post(link);
      props.changed();
    });
  const { cancel, retry } = job.links;
  return (
    <>
      {error && <Trouble error={error} />}
      <p class="choices">
        {cancel && job.status !== "cancelling" && (
          <button onClick={send(cancel)}>Cancel the job</button>
        )}
        {retry && (
          <button class="main" onClick={send(retry)}>
            Retry
          </button>
        )}
        {job.links["review"] && (
          <a class={job.change ? "button" : "button main"} href={`#/jobs/${job.id}/review`}>
            Review the labels
          </a>
        )}
        {job.change && (
          <a class="button main" href={`#/jobs/${job.id}/difference`}>
            What changed
          </a>
        )}
        {job.model_id && (
          <a class="button" href={`#/models/${job.model_id}`}>
            Try and use the model
          </a>
        )}
        {job.metrics && (
          <>
            <a class="button" href={`#/jobs/${job.id}/matrix`}>
              Where it is wrong
            </a>
            <a class="button" href={`#/jobs/${job.id}/health`}>
              Health of the photos
            </a>
          </>
        )}
        {isOver(job.status) && (
          <Confirm
            button="Delete"
            title="Delete the job"
            run={async () => {
              await del(`/jobs/${job.id}`);
              go("/jobs");
            }}
          >
            The job <strong>{job.name}</strong>, its review and its curves will be deleted. Its model
            stays. Its photos are deleted with the last job on them; those that were uploaded as a
            data set, or with more than 32 MB, stay until you delete them by{" "}
            <code>dspt datasets delete</code>.
          </Confirm>
        )}
      </p>
    </>
  );
}
