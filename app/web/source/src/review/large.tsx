import type { JSX } from "preact";
import { useLoaded } from "../load";
import { Dialog } from "../parts/dialog";
import { Picture } from "../parts/basics";
import { fileName, percent } from "../text";
import type { AuditEntry, PhotoPage } from "../types";
import { verdictText } from "./card";
import type { Commands } from "./commands";
import type { Verdict } from "./verdicts";

const SHOWN = 3;

/** One photo, large, beside typical photos of the given and of the suggested class. */
export function Large(props: {
  entry: AuditEntry;
  dataset: string;
  verdict?: Verdict;
  suspects: ReadonlySet<string>;
  commands: Commands;
  close(): void;
}): JSX.Element {
  const { entry, commands } = props;
  return (
    <Dialog title={fileName(entry.file)} close={props.close} wide>
      <div class="large">
        <Picture dataset={props.dataset} number={entry.image} size={1280} alt={entry.file} />
        <div>
          <p>
            <strong>{percent(entry.score, 0)}</strong> probability that the label{" "}
            <b>{entry.given}</b> is wrong. {verdictText(props.verdict)}
          </p>
          <p class="choices">
            <button class="main" onClick={commands.accept}>
              {entry.suggested}
            </button>
            <button onClick={commands.keep}>Keep {entry.given}</button>
            <button onClick={commands.drop}>Drop</button>
          </p>
          <p class="quiet">
            A classifier that was not tuned on this photo gives {entry.given} a probability of{" "}
            {percent(entry.p_tuned, 0)}; CLIP without tuning gives {percent(entry.p_zero_shot, 0)}.
          </p>
          <Typical {...props} label={entry.given} title="Label" />
          <Typical {...props} label={entry.suggested} title="Suggestion" />
        </div>
      </div>
    </Dialog>
  );
}

function Typical(props: {
  label: string;
  title: string;
  dataset: string;
  suspects: ReadonlySet<string>;
}): JSX.Element {
  const query = new URLSearchParams({ label: props.label, split: "train", limit: "200" });
  const photos = useLoaded<PhotoPage>(`/datasets/${props.dataset}/images?${query.toString()}`);
  const some = photos.value?.data.filter((one) => !props.suspects.has(one.file)).slice(0, SHOWN);
  return (
    <figure>
      <figcaption>
        {props.title}: <b>{props.label}</b>
      </figcaption>
      <div class="three">
        {some?.map((one) => (
          <Picture
            key={one.number}
            dataset={props.dataset}
            number={one.number}
            alt={`Photo of ${props.label}`}
          />
        ))}
        {some?.length === 0 && <p class="quiet">No photo of it without doubt.</p>}
      </div>
    </figure>
  );
}
