import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, transfer, type Sending } from "../api";
import { markOf, pack, summarise, type Chosen } from "../drop";
import { go } from "../router";
import { count, megabytes, seconds } from "../text";
import type { Job } from "../types";
import { goesInParts, sendInParts, type Sent } from "../uploads";
import { Bar, Trouble } from "./basics";
import { Preview } from "./preview";
import { Settings, formOf } from "./settings";

/** Photos that were chosen: what is in them, the settings, and the upload. */
export function Ready(props: { chosen: Chosen; back: () => void }): JSX.Element {
  const { chosen } = props;
  const summary = useMemo(
    () => (chosen.unread === undefined ? summarise(chosen.items) : undefined),
    [chosen],
  );
  const [sent, setSent] = useState<Sent & { started: number }>();
  const [error, setError] = useState<ApiError>();
  const sending = useRef<Sending<unknown> | undefined>(undefined);
  const stored = useRef("");
  // A retry has the same key, so that an upload that arrived after all makes one job.
  const key = useRef(crypto.getRandomValues(new Uint32Array(4)).join("-"));
  useEffect(() => {
    if (!sent) return;
    const ask = (event: BeforeUnloadEvent): void => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [sent !== undefined]);
  useEffect(() => () => sending.current?.cancel(true), []);

  const start = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = formOf(event.currentTarget as HTMLFormElement);
    const started = Date.now();
    const progress = (now: Sent): void => setSent({ ...now, started });
    setError(undefined);
    progress({ bytes: 0, total: 0, before: 0, waits: false });
    try {
      const zip = await pack(chosen);
      if (goesInParts(zip) && !stored.current) {
        const parts = sendInParts(zip, await markOf(chosen), progress);
        sending.current = parts;
        stored.current = await parts.done;
      }
      if (stored.current) form.append("dataset_id", stored.current);
      else form.append("dataset", zip);
      const created = transfer<Job>(
        "POST",
        "/jobs",
        form,
        { "Idempotency-Key": key.current },
        (bytes, total) => progress({ bytes, total, before: 0, waits: false }),
      );
      sending.current = created;
      const job = await created.done;
      sending.current = undefined;
      go(`/jobs/${job.id}`);
    } catch (failed) {
      setSent(undefined);
      if (failed instanceof ApiError) setError(failed);
      else throw failed;
    }
  };
  const few = summary !== undefined && summary.classes.length < 2;
  return (
    <form onSubmit={(event) => void start(event)}>
      {chosen.zip && (
        <p>
          <strong>{chosen.zip.name}</strong>, {megabytes(chosen.zip.size)}
        </p>
      )}
      {summary && <Preview summary={summary} />}
      {chosen.unread && (
        <p class="trouble" role="alert">
          {chosen.unread}
        </p>
      )}
      {few && (
        <p class="trouble" role="alert">
          {count(summary.classes.length, "class", "classes")} found, and two are needed. Drop the
          folder that contains the class folders.
        </p>
      )}
      <Settings name={chosen.name} classes={summary?.classes.map((one) => one.name) ?? []} />
      {error && <Trouble error={error} />}
      {sent ? (
        <Progress sent={sent} started={sent.started} cancel={() => sending.current?.cancel(false)} />
      ) : (
        <p class="choices">
          <button class="main" disabled={few && !chosen.zip}>
            {error ? "Send again" : "Send and tune"}
          </button>
          <button type="button" onClick={props.back}>
            Choose other photos
          </button>
        </p>
      )}
    </form>
  );
}

function Progress(props: { sent: Sent; started: number; cancel: () => void }): JSX.Element {
  const { bytes, total, before, waits } = props.sent;
  const rate = (bytes - before) / Math.max(0.001, (Date.now() - props.started) / 1000);
  let text = `${megabytes(bytes)} of ${megabytes(total)}`;
  if (total === 0) text = "Packing the photos ...";
  else if (waits) text += ". The connection was lost; the upload goes on by itself.";
  else if (bytes >= total) text = "Sent; the service stores them ...";
  else if (rate > 0) text += `, ${seconds((total - bytes) / rate)} left`;
  return (
    <div role="status">
      <Bar share={total ? bytes / total : 0} label="Upload" />
      <p class="choices">
        <span>{text}</span>
        <button type="button" onClick={props.cancel}>
          Cancel
        </button>
      </p>
    </div>
  );
}
