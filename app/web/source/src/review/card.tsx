import type { JSX } from "preact";
import { Picture } from "../parts/basics";
import { fileName, percent } from "../text";
import type { AuditEntry } from "../types";
import type { Verdict } from "./state";

export function verdictText(verdict: Verdict | undefined): string {
  if (!verdict) return "";
  const by = verdict.by ? ` (${verdict.by})` : "";
  if (verdict.action === "keep") return `Kept${by}`;
  if (verdict.action === "drop") return `Dropped${by}`;
  return `→ ${verdict.label ?? ""}${by}`;
}

export function Card(props: {
  entry: AuditEntry;
  dataset: string;
  verdict?: Verdict;
  current: boolean;
  picked: boolean;
  choose(event: MouseEvent): void;
  open(): void;
}): JSX.Element {
  const { entry, verdict } = props;
  const state = [
    "suspect",
    props.current ? "current" : "",
    props.picked ? "picked" : "",
    verdict ? `is-${verdict.action}` : "",
  ];
  return (
    <button
      class={state.join(" ")}
      aria-current={props.current}
      aria-pressed={props.picked}
      onClick={props.choose}
      onDblClick={props.open}
      tabIndex={props.current ? 0 : -1}
    >
      <Picture
        dataset={props.dataset}
        number={entry.image}
        alt={fileName(entry.file)}
      />
      <span class="labels">
        <s>{entry.given}</s> <span aria-hidden="true">→</span> <b>{entry.suggested}</b>
      </span>
      <span class="quiet">{percent(entry.score, 0)} wrong</span>
      <span class="verdict">{verdictText(verdict)}</span>
    </button>
  );
}
