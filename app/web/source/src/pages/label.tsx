import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, address, post } from "../api";
import { Title, Trouble, Waiting } from "../parts/basics";
import { useLoaded } from "../load";
import { percent } from "../text";
import type { Captured, Model, Page } from "../types";

/** Photos from production that the model is least sure of, to give them their class. */
export function LabelPage(props: { id: string }): JSX.Element {
  const model = useLoaded<Model>(`/models/${props.id}`);
  const path = `/models/${props.id}/predictions?order=uncertain&labelled=false&limit=50`;
  const photos = useLoaded<Page<Captured>>(path);
  const [labels, setLabels] = useState<Record<string, string>>({});
  const [error, setError] = useState<ApiError>();
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
  const given = Object.keys(labels).length;
  return (
    <>
      <Title note={<a href={`#/models/${props.id}`}>Model {model.value.name}</a>}>
        Photos to label next
      </Title>
      <p>
        The photos that this model was least sure of, among those that were classified with{" "}
        <code>capture</code>. Their classes help most in the next tuning.
      </p>
      {photos.error && <Trouble error={photos.error} />}
      {error && <Trouble error={error} />}
      {!photos.value && !photos.error && <Waiting />}
      {photos.value?.data.length === 0 && (
        <p>
          No photo waits for a class. Choose “Keep the photos” when you try the model, or send{" "}
          <code>capture=true</code> with a prediction.
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
      <ul class="grid small">
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
