import type { JSX, TargetedEvent } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, upload, type Sending } from "../api";
import { fromDrop, fromFiles, pack, summarise, type Chosen } from "../drop";
import { Bar, Title, Trouble } from "../parts/basics";
import { Settings, formOf } from "../parts/settings";
import { go } from "../router";
import { megabytes, seconds } from "../text";
import type { Job } from "../types";
import { Preview } from "../parts/preview";

export function NewJob(): JSX.Element {
  const [chosen, setChosen] = useState<Chosen>();
  return (
    <>
      <Title note="One folder of photos for each class; the folder's name is the label.">
        New job
      </Title>
      {chosen ? (
        <Ready chosen={chosen} back={() => setChosen(undefined)} />
      ) : (
        <Drop take={setChosen} />
      )}
    </>
  );
}

function Drop(props: { take: (chosen: Chosen) => void }): JSX.Element {
  const [over, setOver] = useState(false);
  const [busy, setBusy] = useState(false);
  const dropped = async (event: DragEvent): Promise<void> => {
    event.preventDefault();
    setOver(false);
    if (!event.dataTransfer) return;
    setBusy(true);
    props.take(await fromDrop(event.dataTransfer));
  };
  const picked = (event: TargetedEvent<HTMLInputElement>): void => {
    const files = [...(event.currentTarget.files ?? [])];
    if (files.length) props.take(fromFiles(files));
  };
  return (
    <div
      class={over ? "drop over" : "drop"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => void dropped(event)}
    >
      <p>
        <strong>{busy ? "Reading the folder ..." : "Drop a folder of photos or a zip here"}</strong>
      </p>
      <pre aria-label="Layout of the folder">
        {"photos/\n  cat/    1.jpg  2.jpg  ...\n  dog/    1.jpg  2.jpg  ..."}
      </pre>
      <p class="choices">
        <label class="button">
          Choose a folder
          <input type="file" {...{ webkitdirectory: true }} multiple onChange={picked} />
        </label>
        <label class="button">
          Choose a zip
          <input type="file" accept=".zip,application/zip" onChange={picked} />
        </label>
      </p>
      <p class="quiet">
        8 photos or more per class work best. Test photos go into <code>train/</code> and{" "}
        <code>test/</code> folders, if there are any.
      </p>
    </div>
  );
}

interface Sent {
  bytes: number;
  total: number;
  started: number;
}

function Ready(props: { chosen: Chosen; back: () => void }): JSX.Element {
  const { chosen } = props;
  const summary = useMemo(() => (chosen.zip ? undefined : summarise(chosen.items)), [chosen]);
  const [sent, setSent] = useState<Sent>();
  const [error, setError] = useState<ApiError>();
  const sending = useRef<Sending<Job> | undefined>(undefined);
  // A retry has the same key, so that an upload that arrived after all makes one job.
  const key = useRef(crypto.getRandomValues(new Uint32Array(4)).join("-"));
  useEffect(() => {
    if (!sent) return;
    const ask = (event: BeforeUnloadEvent): void => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [sent !== undefined]);
  useEffect(() => () => sending.current?.cancel(), []);

  const start = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = formOf(event.currentTarget as HTMLFormElement);
    setError(undefined);
    setSent({ bytes: 0, total: 0, started: Date.now() });
    try {
      form.append("dataset", await pack(chosen));
      const started = Date.now();
      sending.current = upload<Job>("/jobs", form, key.current, (bytes, total) =>
        setSent({ bytes, total, started }),
      );
      const job = await sending.current.done;
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
      {summary ? (
        <Preview summary={summary} />
      ) : (
        <p>
          <strong>{chosen.zip?.name}</strong>, {megabytes(chosen.zip?.size ?? 0)}. The service reads
          its folders and lists every problem by file.
        </p>
      )}
      {few && (
        <p class="trouble" role="alert">
          Fewer than two classes were found. Drop the folder that contains the class folders.
        </p>
      )}
      <Settings name={chosen.name} classes={summary?.classes.map((one) => one.name) ?? []} />
      {error && <Trouble error={error} />}
      {sent ? (
        <Progress sent={sent} cancel={() => sending.current?.cancel()} />
      ) : (
        <p class="choices">
          <button class="main" disabled={few}>
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

function Progress(props: { sent: Sent; cancel: () => void }): JSX.Element {
  const { bytes, total, started } = props.sent;
  const rate = bytes / Math.max(0.001, (Date.now() - started) / 1000);
  return (
    <div role="status">
      <Bar share={total ? bytes / total : 0} label="Upload" />
      <p class="choices">
        <span>
          {total === 0
            ? "Packing the photos ..."
            : bytes < total
              ? `${megabytes(bytes)} of ${megabytes(total)}, ${seconds((total - bytes) / rate)} left`
              : "Sent; the service stores them ..."}
        </span>
        <button type="button" onClick={props.cancel}>
          Cancel
        </button>
      </p>
    </div>
  );
}
