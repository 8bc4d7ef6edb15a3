import type { JSX, TargetedEvent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, postForm } from "../api";
import { useLoaded } from "../load";
import { day, percent } from "../text";
import type { Answer, Model, Page, Prediction } from "../types";
import { Own, Sentence, Trouble } from "./basics";
import { Camera } from "./camera";

interface Tried {
  file: File;
  source: string;
  prediction: Prediction;
  /** Of the other model. */
  other?: Prediction;
}

/** Classify photos that are dropped, pasted, chosen or taken; CLIP without tuning beside, or a model. */
export function Try(props: { model: string }): JSX.Element {
  const [tried, setTried] = useState<Tried[]>([]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const [below, setBelow] = useState(0);
  const [beside, setBeside] = useState("");
  const [keep, setKeep] = useState(false);
  const models = useLoaded<Page<Model>>("/models?limit=100");
  const others = models.value?.data.filter(({ id }) => id !== props.model) ?? [];
  const ask = async (model: string, files: File[]): Promise<Prediction[]> => {
    const form = new FormData();
    form.set("model", model);
    form.set("zero_shot", "true");
    form.set("top_k", "3");
    if (keep && model === props.model) form.set("capture", "true");
    for (const file of files) form.append("images", file, file.name || "pasted.png");
    return (await postForm<Answer>("/predict", form)).predictions;
  };
  const classify = async (files: File[]): Promise<void> => {
    if (files.length === 0) return;
    setBusy(true);
    setError(undefined);
    try {
      const found = await ask(props.model, files);
      const second = beside ? await ask(beside, files) : [];
      const made = found.map((prediction, at) => {
        const file = files[at] as File;
        return { file, prediction, other: second[at], source: URL.createObjectURL(file) };
      });
      setTried((old) => [...made, ...old].slice(0, 60));
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
    }
    setBusy(false);
  };
  useEffect(() => {
    const paste = (event: ClipboardEvent): void => {
      void classify([...(event.clipboardData?.files ?? [])]);
    };
    addEventListener("paste", paste);
    return () => removeEventListener("paste", paste);
  }, [props.model, beside, keep]);
  const picked = (event: TargetedEvent<HTMLInputElement>): void => {
    void classify([...(event.currentTarget.files ?? [])]);
    event.currentTarget.value = "";
  };
  return (
    <section>
      <h2>Try it</h2>
      <div
        class="drop"
        onDragOver={(event) => event.preventDefault()}
        onDrop={(event) => {
          event.preventDefault();
          void classify([...(event.dataTransfer?.files ?? [])]);
        }}
      >
        <p>{busy ? "Classifying ..." : "Drop or paste photos here"}</p>
        <p class="choices">
          <label class="button">
            Choose photos
            <input type="file" accept="image/*" multiple onChange={picked} />
          </label>
          <Camera taken={(file) => void classify([file])} picked={picked} />
        </p>
      </div>
      <label class="check">
        <input
          type="checkbox"
          checked={keep}
          onChange={(event) => setKeep(event.currentTarget.checked)}
        />{" "}
        Keep the photos, to label them later
      </label>
      {others.length > 0 && (
        <label class="narrow">
          Beside
          <select value={beside} onChange={(event) => setBeside(event.currentTarget.value)}>
            <option value="">No other model</option>
            {others.map((one) => (
              <option key={one.id} value={one.id}>
                {one.name}, {day(one.created_at)}
              </option>
            ))}
          </select>
        </label>
      )}
      {error && <Trouble error={error} />}
      {tried.length > 0 && (
        <label class="narrow">
          Reject answers below {percent(below, 0)}
          <input
            type="range"
            min={0}
            max={1}
            step={0.01}
            value={below}
            onInput={(event) => setBelow(Number(event.currentTarget.value))}
          />
        </label>
      )}
      <ul class="cards" aria-live="polite">
        {tried.map((one) => (
          <li key={one.source} class="card tried">
            <Own source={one.source} alt={one.file.name} name={one.file.name} />
            <Outcome prediction={one.prediction} below={below} />
            {one.other && <Outcome prediction={one.other} below={below} title="The other model" />}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Outcome(props: { prediction: Prediction; below: number; title?: string }): JSX.Element {
  const { error, top, zero_shot, file } = props.prediction;
  if (error) {
    return (
      <p class="few">
        {file}: <Sentence text={error.message} />
      </p>
    );
  }
  const [best] = top ?? [];
  const scores = (found: typeof top): string =>
    found?.map((one) => `${one.label} ${percent(one.score, 0)}`).join(", ") ?? "";
  return (
    <div>
      <strong>{best && best.score >= props.below ? best.label : "Rejected"}</strong>
      <p class="quiet">{props.title ?? file}</p>
      <p>This model: {scores(top)}</p>
      <p class="quiet">Without tuning: {scores(zero_shot)}</p>
    </div>
  );
}
