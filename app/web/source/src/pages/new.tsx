import type { JSX, TargetedEvent } from "preact";
import { useState } from "preact/hooks";
import { ApiError, post, postForm } from "../api";
import { fromDrop, fromFiles, type Chosen } from "../drop";
import { Title, Trouble } from "../parts/basics";
import { Ready } from "../parts/ready";
import { go } from "../router";
import type { Dataset, Job } from "../types";

/** `demo`: the service can make photos to try it with. */
export function NewJob(props: { demo: boolean }): JSX.Element {
  const [chosen, setChosen] = useState<Chosen>();
  return (
    <>
      <Title note="One folder of photos for each class; the folder's name is the label.">
        New job
      </Title>
      {chosen ? (
        <Ready chosen={chosen} back={() => setChosen(undefined)} />
      ) : (
        <>
          <Drop take={setChosen} />
          {props.demo && <Demo />}
        </>
      )}
    </>
  );
}

/** A job on photos that come with the service, by one click. */
function Demo(): JSX.Element {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const start = async (): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      const form = new FormData();
      form.set("dataset_id", (await post<Dataset>("/datasets/demo")).id);
      form.set("name", "demo");
      go(`/jobs/${(await postForm<Job>("/jobs", form)).id}`);
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
      setBusy(false);
    }
  };
  return (
    <section>
      <h2>No photos at hand?</h2>
      <p>
        The service has photos of 12 classes. Some of their labels are wrong on purpose, so that
        there is something to find.
      </p>
      {error && <Trouble error={error} />}
      <p>
        <button disabled={busy} onClick={() => void start()}>
          {busy ? "Making the photos ..." : "Try it with the demo's photos"}
        </button>
      </p>
    </section>
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
    if (files.length) void fromFiles(files).then(props.take);
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
