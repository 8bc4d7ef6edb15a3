import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { ApiError, address, del, post, transfer, type Sending } from "../api";
import { Badge, Bar, Sentence, Title, Trouble, Waiting } from "../parts/basics";
import { Confirm } from "../parts/confirm";
import { List } from "../parts/list";
import { useLoaded } from "../load";
import { usePages } from "../pages";
import { go } from "../router";
import { count, day, isOver, megabytes } from "../text";
import type { Alias, Batch, Model, Page } from "../types";

export function Batches(): JSX.Element {
  const batches = usePages<Batch>("/batches", 5);
  return (
    <>
      <Title note="A batch classifies all photos of a zip in the background.">Batches</Title>
      <NewBatch />
      <List
        pages={batches}
        empty="No batches yet."
        row={(batch) => (
          <a class="card row" href={`#/batches/${batch.id}`}>
            <strong>{batch.name}</strong>
            <Badge status={batch.status} />
            <span class="quiet">{day(batch.created_at)}</span>
            <span>{done(batch)}</span>
          </a>
        )}
      />
    </>
  );
}

const done = ({ images, done: n }: Batch): string =>
  typeof images === "number"
    ? `${n.toLocaleString("en")} of ${count(images, "photo")}`
    : count(n, "photo");

function NewBatch(): JSX.Element {
  const models = useLoaded<Page<Model>>("/models?limit=100");
  const aliases = useLoaded<Page<Alias>>("/aliases?limit=100");
  const [error, setError] = useState<ApiError>();
  const [sent, setSent] = useState<[number, number]>();
  const sending = useRef<Sending<Batch> | undefined>(undefined);
  const key = useRef(crypto.getRandomValues(new Uint32Array(4)).join("-"));
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setError(undefined);
    setSent([0, 1]);
    try {
      const headers = { "Idempotency-Key": key.current };
      sending.current = transfer("POST", "/batches", form, headers, (...now) => setSent(now));
      go(`/batches/${(await sending.current.done).id}`);
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
      setSent(undefined);
    }
  };
  if (models.value?.data.length === 0) return <p>There is no model yet to classify with.</p>;
  return (
    <form onSubmit={(event) => void submit(event)}>
      <div class="fields">
        <label>
          Model
          <select name="model" required>
            {aliases.value?.data.map((one) => (
              <option key={one.id} value={one.name}>
                {one.name} (alias)
              </option>
            ))}
            {models.value?.data.map((one) => (
              <option key={one.id} value={one.id}>
                {one.name}, {day(one.created_at)}
              </option>
            ))}
          </select>
        </label>
        <label>
          Zip of photos
          <input name="archive" type="file" accept=".zip,application/zip" required />
        </label>
      </div>
      {error && <Trouble error={error} />}
      {sent ? (
        <p class="choices" role="status">
          <Bar share={sent[0] / Math.max(1, sent[1])} label="Upload" />
          {megabytes(sent[0])} sent
          <button type="button" onClick={() => sending.current?.cancel(false)}>
            Cancel
          </button>
        </p>
      ) : (
        <button class="main">Classify all photos</button>
      )}
    </form>
  );
}

export function BatchPage(props: { id: string }): JSX.Element {
  const [over, setOver] = useState(false);
  const loaded = useLoaded<Batch>(`/batches/${props.id}`, over ? 0 : 2);
  const batch = loaded.value;
  if (batch && isOver(batch.status) !== over) setOver(!over);
  const [error, setError] = useState<ApiError>();
  if (!batch) return loaded.error ? <Trouble error={loaded.error} /> : <Waiting />;
  const call = async (what: string): Promise<void> => {
    setError(undefined);
    try {
      loaded.set(await post<Batch>(`/batches/${batch.id}/${what}`));
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
    }
  };
  const results = `/batches/${batch.id}/results`;
  return (
    <>
      <Title
        note={
          <>
            <Badge status={batch.status} /> {day(batch.created_at)}, by{" "}
            <a href={`#/models/${batch.model}`}>{batch.alias ?? batch.model}</a>
          </>
        }
      >
        {batch.name}
      </Title>
      {error && <Trouble error={error} />}
      {batch.error && (
        <p class="trouble" role="alert">
          <Sentence text={batch.error.message} />
        </p>
      )}
      <section aria-label="Progress" aria-live="polite">
        <Bar share={batch.images ? batch.done / batch.images : 0} label="Photos done" />
        <p>
          {done(batch)} done
          {batch.unreadable > 0 && `, ${batch.unreadable} of them unreadable`}
          {batch.status === "queued" && "; waiting for a worker"}
        </p>
      </section>
      <p class="choices">
        <a class="button main" href={address(`${results}?format=csv`)} download>
          Results as CSV
        </a>
        <a class="button" href={address(results)} download>
          As NDJSON
        </a>
        {["queued", "running"].includes(batch.status) && (
          <button onClick={() => void call("cancel")}>Cancel</button>
        )}
        {["failed", "cancelled"].includes(batch.status) && (
          <button onClick={() => void call("retry")}>Go on</button>
        )}
        {isOver(batch.status) && (
          <Confirm
            button="Delete"
            title="Delete the batch"
            run={async () => {
              await del(`/batches/${batch.id}`);
              go("/batches");
            }}
          >
            The results of {batch.name} will be deleted, too.
          </Confirm>
        )}
      </p>
    </>
  );
}
