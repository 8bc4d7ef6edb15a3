import { Component, type JSX } from "preact";
import { Picture } from "../parts/basics";
import { fileName, percent } from "../text";
import type { AuditEntry } from "../types";
import type { Verdict } from "./verdicts";

export function verdictText(verdict: Verdict | undefined): string {
  if (!verdict) return "";
  const by = verdict.by ? ` (${verdict.by})` : "";
  if (verdict.action === "keep") return `Kept${by}`;
  if (verdict.action === "drop") return `Dropped${by}`;
  return `→ ${verdict.label ?? ""}${by}`;
}

interface Props {
  index: number;
  entry: AuditEntry;
  dataset: string;
  verdict?: Verdict;
  current: boolean;
  picked: boolean;
  choose(index: number, event: MouseEvent): void;
  open(): void;
}

/** A key changes one or two cards: the others are not rendered again. */
export class Card extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    return (Object.keys(next) as (keyof Props)[]).some((name) => next[name] !== this.props[name]);
  }

  render(): JSX.Element {
    const { entry, verdict, current, picked, index } = this.props;
    const state = [
      "suspect",
      current ? "current" : "",
      picked ? "picked" : "",
      verdict ? `is-${verdict.action}` : "",
    ];
    return (
      <button
        class={state.join(" ")}
        aria-current={current}
        aria-pressed={picked}
        onClick={(event) => this.props.choose(index, event)}
        onDblClick={() => this.props.open()}
        tabIndex={current ? 0 : -1}
      >
        <Picture dataset={this.props.dataset} number={entry.image} alt={fileName(entry.file)} />
        <span class="labels">
          {entry.given === entry.suggested ? (
            <>
              <span class="unseen">label </span>
              {entry.given}
            </>
          ) : (
            <>
              <span class="unseen">label </span>
              <s>{entry.given}</s> <span aria-hidden="true">→</span>
              <span class="unseen">, suggestion </span> <b>{entry.suggested}</b>
            </>
          )}
        </span>
        <span class="quiet">{percent(entry.score, 0)} wrong</span>
        <span class="verdict">{verdictText(verdict)}</span>
      </button>
    );
  }
}
