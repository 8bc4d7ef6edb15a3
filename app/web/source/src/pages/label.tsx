import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, address, post } from "../api";
import { Title, Trouble, Waiting } from "../parts/basics";
import { useLoaded } from "../load";
import { go, replaceQuery, type Route } from "../router";
import { percent } from "../text";
import type { Captured, Job, Model, Page } from "../types";

const orders = {
  instructive: "Those that teach the most first",
  uncertain: "The least certain first",
  newest: "The newest first",
};

/** Photos from production, to give them their class and tune again with them. */
export function LabelPage(props: { id: string; route: Route }): JSX.Element {
  const model = useLoaded<Model>(`/models/${props.id}`);
  const order = props.route.query.get("order") ?? "instructive";
  const path = `/models/${props.id}/predictions?order=${encodeURIComponent(order)}&labelled=false&limit=50`;
  const photos = useLoaded<Page<Captured>>(path);
  const [labels, setLabels] = useState<Record<string, string>>({});
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  if (!model.value) return model.error ? <Trouble error={model.error} /> : <Waiting />;
  const give = async (prediction: string, label: string): Promise<void> => {
    setError(undefined);
    try {
      await post("/feedback", { prediction, label });
      setLabels((old) => ({ ...old, [prediction]: label }));
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
    }
  };
  const tune = async (): Promise<void> => {
    setError(undefined);
    setBusy(true);
    try {
      go(`/jobs/${(await post<Job>(`/models/${props.id}/retrain`, {})).id}`);
    } catch (failed) {
      setBusy(false);
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
    }
  };
  const given = Object.keys(labels).length;
  return (
    <>
      <Title note={<a href={`#/models/${props.id}`}>Model {model.value.name}</a>}>
        Photos to label next
      </Title>
      <p>
        Photos that this model classified and the service kept. Give them their classes, then tune
        again: their labels count as confirmed, and only they are encoded.
      </p>
      <p class="choices">
        <select
          aria-label="Order"
          value={order}
          onChange={(event) => replaceQuery({ order: event.currentTarget.value })}
        >
          {Object.entries(orders).map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
        <button class="main" disabled={busy} onClick={() => void tune()}>
          Tune again with the labelled photos
        </button>
      </p>
      {photos.error && <Trouble error={photos.error} />}
      {error && <Trouble error={error} />}
      {!photos.value && !photos.error && <Waiting />}
      {photos.value?.data.length === 0 && (
        <p>
          No photo waits for a class. Choose “Keep the photos” when you try the model, let an alias
          keep a share of its photos, or send <code>capture=true</code> with a prediction.
        </p>
      )}
      <p role="status">
        {given > 0 && (
          <>
            {given} labelled.{" "}
            <button
              onClick={() => {
                setLabels({});
                void photos.reload();
              }}
            >
              Next photos
            </button>
          </>
        )}
      </p>
      <ul class="grid small labelling">
        {photos.value?.data.map((photo) => (
          <li key={photo.id} class="card">
            <img src={address(`${photo.links["image"] ?? ""}?size=192`)} alt={photo.file} loading="lazy" />
            <span class="name">
              {photo.predicted} {percent(photo.score, 0)}
            </span>
            {labels[photo.id] ? (
              <b>{labels[photo.id]}</b>
            ) : (
              <Classes
                photo={photo}
                classes={model.value?.classes ?? []}
                give={(label) => void give(photo.id, label)}
              />
            )}
          </li>
        ))}
      </ul>
    </>
  );
}

function Classes(props: {
  photo: Captured;
  classes: string[];
  give(label: string): void;
}): JSX.Element {
  const { photo, classes, give } = props;
  return (
    <>
      <button onClick={() => give(photo.predicted)}>Right</button>
      <select
        aria-label={`Class of ${photo.file}`}
        onChange={(event) => event.currentTarget.value && give(event.currentTarget.value)}
      >
        <option value="">Other class ...</option>
        {classes
          .filter((name) => name !== photo.predicted)
          .map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
      </select>
    </>
  );
}
