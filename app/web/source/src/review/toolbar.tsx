import type { JSX } from "preact";
import { Sentence } from "../parts/basics";
import { count, percent } from "../text";
import type { Audit, AuditEntry } from "../types";
import type { Commands } from "./commands";
import type { Verdicts } from "./verdicts";

/** How many labels are wrong, how far it is worth looking, and how far the review is. */
export function Status(props: {
  audit: Audit;
  verdicts: Verdicts;
  files: ReadonlySet<string>;
  all: boolean;
}): JSX.Element {
  const { audit } = props;
  const total = props.all ? props.files.size : audit.suspects;
  const done = props.verdicts.among(props.files);
  const rate = audit.noise_rate;
  const worth = audit.expected_wrong?.filter((each) => each.first <= audit.suspects).at(-1);
  return (
    <section aria-label="State of the review">
      <p>
        {rate &&
          `About ${percent(rate.estimate, 0)} of the labels are wrong (${percent(rate.low, 0)} to ${percent(rate.high, 0)}). `}
        {count(audit.suspects, "label")} to check, the most suspicious first.
        {worth && ` Of the first ${worth.first}, about ${Math.round(worth.wrong)} are wrong.`}
        {!audit.can_tell && <Sentence text={` ${audit.why}`} />}
      </p>
      <progress
        max={Math.max(1, total)}
        value={done}
        aria-label="Labels checked"
      />
      <p class="quiet" role="status">
        {done} of {total} checked
      </p>
    </section>
  );
}

export function Toolbar(props: {
  commands: Commands;
  entry?: AuditEntry;
  classes: readonly string[];
  picked: number;
  unsaved: number;
  /** Why something could not be saved. */
  error?: string;
  canUndo: boolean;
  canRedo: boolean;
  what: string;
  given: string;
  show: string;
  labels: string[];
  filter(values: Record<string, string>): void;
  send(): void;
}): JSX.Element {
  const { commands, entry } = props;
  return (
    <div class="toolbar" role="toolbar" aria-label="Verdict">
      <p class="choices">
        <button class="main" disabled={!entry} onClick={commands.accept}>
          <kbd>A</kbd> {props.picked ? "Accept" : (entry?.suggested ?? "Accept")}
        </button>
        <button disabled={!entry} onClick={commands.keep}>
          <kbd>K</kbd> {props.picked ? "Keep" : `Keep ${entry?.given ?? ""}`}
        </button>
        <button disabled={!entry} onClick={commands.drop}>
          <kbd>D</kbd> Drop
        </button>
        <button disabled={!entry} onClick={commands.find}>
          <kbd>/</kbd> Class ...
        </button>
        <button disabled={!props.canUndo} onClick={commands.undo}>
          <kbd>U</kbd> Undo
        </button>
        <button disabled={!props.canRedo} onClick={commands.redo}>
          Redo
        </button>
        <button disabled={!entry} onClick={commands.large}>
          Large
        </button>
        <button onClick={commands.help} aria-label="Keys">
          ?
        </button>
        <span class="space" />
        <button class="main" disabled={props.unsaved > 0} onClick={props.send}>
          Tune again ...
        </button>
      </p>
      <p class="choices">
        <select
          aria-label="Photos"
          value={props.what}
          onChange={(event) => props.filter({ what: event.currentTarget.value })}
        >
          <option value="">Suspects</option>
          <option value="all">All training photos</option>
        </select>
        <select
          aria-label="Class"
          value={props.given}
          onChange={(event) => props.filter({ class: event.currentTarget.value })}
        >
          <option value="">All classes</option>
          {props.labels.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
        <select
          aria-label="State"
          value={props.show}
          onChange={(event) => props.filter({ show: event.currentTarget.value })}
        >
          <option value="">Checked or not</option>
          <option value="open">Not checked</option>
          <option value="done">Checked</option>
        </select>
        <span class="quiet numbers">
          {props.classes.slice(0, 9).map((name, index) => (
            <span key={name}>
              <kbd>{index + 1}</kbd> {name}{" "}
            </span>
          ))}
        </span>
        <span role="status">
          {props.picked > 0 && `${count(props.picked, "photo")} selected. `}
          {props.error === undefined
            ? props.unsaved > 0 && "Saving ..."
            : `Not saved${props.unsaved > 0 ? " yet" : ""}: ${props.error}`}
        </span>
      </p>
    </div>
  );
}
