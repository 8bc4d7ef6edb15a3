import type { JSX } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Title, Trouble, Waiting } from "../parts/basics";
import { useLoaded } from "../load";
import { byFrequency, classesFor, useSuspects } from "../review/audit";
import { Card } from "../review/card";
import { FindClass, Help, Send } from "../review/dialogs";
import { Grid } from "../review/grid";
import { useShortcuts } from "../review/keys";
import { Large } from "../review/large";
import { shortcutsOf, type Commands } from "../review/commands";
import { nextFiles } from "../review/state";
import { useReview } from "../review/store";
import { Status, Toolbar } from "../review/toolbar";
import type { Verdict } from "../review/verdicts";
import { replaceQuery, type Route } from "../router";
import type { AuditEntry, Job, Session } from "../types";

type Open = "large" | "find" | "help" | "send" | "";

export function ReviewPage(props: { id: string; route: Route; session?: Session }): JSX.Element {
  const job = useLoaded<Job>(`/jobs/${props.id}`);
  const what = props.route.query.get("what") ?? "";
  const suspects = useSuspects(props.id, what === "all");
  const store = useReview(props.id, props.session?.key_id);
  const [open, setOpen] = useState<Open>("");
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [columns, setColumns] = useState(1);
  // A dialog reports its end late: another one may be open by then.
  const close = (which: Open): void => setOpen((now) => (now === which ? "" : now));
  const { query } = props.route;
  const given = query.get("class") ?? "";
  const show = query.get("show") ?? "";
  const { verdicts } = store.review;
  const { entries } = suspects;

  const isShown = (entry: AuditEntry): boolean =>
    (!given || entry.given === given) && (!show || (show === "open") === !verdicts.has(entry.file));
  const shown = useMemo(() => entries.filter(isShown), [entries, given, show, show ? verdicts : null]);
  const at = Math.max(0, Math.min(Number(query.get("at") ?? 0) || 0, shown.length - 1));
  const entry = shown[at];
  const allClasses = job.value?.dataset.classes ?? [];
  const frequent = useMemo(() => byFrequency(allClasses, entries), [job.value, entries.length]);
  const labels = useMemo(() => [...new Set(entries.map((each) => each.given))].sort(), [entries]);
  const files = useMemo(() => new Set(entries.map((each) => each.file)), [entries]);

  // Another browser, or the same on another day, goes on at the first photo without a verdict.
  const placed = useRef(query.has("at"));
  useEffect(() => {
    if (placed.current || !store.loaded || shown.length === 0) return;
    const first = shown.findIndex((each) => !verdicts.has(each.file));
    if (first < 0 && !suspects.complete) return;
    placed.current = true;
    if (first > 0) replaceQuery({ what, class: given, show, at: String(first) });
  }, [store.loaded, shown, verdicts, suspects.complete]);

  // The focus stays on the heading until the person moves.
  const moved = useRef(false);
  const move = (to: number): void => {
    placed.current = moved.current = true;
    const place = Math.max(0, Math.min(to, shown.length - 1));
    replaceQuery({ what, class: given, show, at: place ? String(place) : "" });
  };
  const decide = (verdictOf: (suggested: string) => Verdict | null): void => {
    const targets = picked.size ? shown.filter((each) => picked.has(each.file)) : entry ? [entry] : [];
    const suggestions = new Set(targets.map((each) => each.suggested));
    for (const suggested of suggestions) {
      const some = targets.filter((each) => each.suggested === suggested);
      store.decide(some.map((each) => each.file), verdictOf(suggested));
    }
    if (picked.size) setPicked(new Set());
    else if (show !== "open") move(at + 1);
  };
  /** Go to the photo whose verdict changes, so that the next key is about it. */
  const moveTo = (files: string[]): void => {
    const changed = new Set(files);
    const to = entries
      .filter((each) => isShown(each) || changed.has(each.file))
      .findIndex((each) => changed.has(each.file));
    if (to >= 0) move(to);
  };
  const relabel = (label: string, isNew: boolean): void => {
    setOpen("");
    decide(() => ({ action: "relabel", label, ...(isNew && { new_class: true }) }));
  };
  const commands: Commands = {
    accept: () => decide((label) => ({ action: "relabel", label })),
    keep: () => decide(() => ({ action: "keep" })),
    drop: () => decide(() => ({ action: "drop" })),
    clear: () => decide(() => null),
    nth: (number) => {
      const label = classesFor(entry, frequent)[number - 1];
      if (label !== undefined) relabel(label, false);
    },
    undo: () => {
      moveTo(nextFiles(store.review.past));
      store.undo();
    },
    redo: () => {
      moveTo(nextFiles(store.review.future));
      store.redo();
    },
    large: () => setOpen(open === "large" ? "" : "large"),
    find: () => setOpen("find"),
    help: () => setOpen(open === "help" ? "" : "help"),
    all: () => setPicked(new Set(shown.map((each) => each.file))),
    left: () => move(at - 1),
    right: () => move(at + 1),
    up: () => move(at - columns),
    down: () => move(at + columns),
  };
  const shortcuts = shortcutsOf(commands);
  useShortcuts(shortcuts, open !== "find" && open !== "send");

  const choose = (index: number, event: MouseEvent): void => {
    const file = shown[index]?.file;
    if (file === undefined) return;
    const next = new Set(picked);
    if (event.shiftKey) {
      const [from, to] = [Math.min(at, index), Math.max(at, index)];
      for (const each of shown.slice(from, to + 1)) next.add(each.file);
    } else if (event.ctrlKey || event.metaKey) {
      if (!next.delete(file)) next.add(file);
    } else next.clear();
    setPicked(next);
    move(index);
  };

  // The cards keep the same functions, so that most need not be rendered again.
  const latest = useRef(choose);
  latest.current = choose;
  const chooseLatest = useCallback((index: number, event: MouseEvent) => latest.current(index, event), []);
  const openLarge = useCallback(() => setOpen("large"), []);

  if (!job.value) return job.error ? <Trouble error={job.error} /> : <Waiting />;
  const dataset = job.value.dataset.id;
  return (
    <>
      <Title note={<a href={`#/jobs/${props.id}`}>Job {job.value.name}</a>}>Review the labels</Title>
      {suspects.error && <Trouble error={suspects.error} />}
      {store.error && <Trouble error={store.error} />}
      {store.refused && <Trouble error={store.refused} />}
      {suspects.audit && (
        <Status audit={suspects.audit} verdicts={verdicts} files={files} all={what === "all"} />
      )}
      <Toolbar
        commands={commands}
        entry={entry}
        classes={classesFor(entry, frequent)}
        picked={picked.size}
        unsaved={Object.keys(store.review.unsaved).length}
        error={(store.refused ?? store.error)?.message}
        canUndo={store.review.past.length > 0}
        canRedo={store.review.future.length > 0}
        what={what}
        given={given}
        show={show}
        labels={labels}
        filter={(values) => replaceQuery({ what, class: given, show, ...values })}
        send={() => setOpen("send")}
      />
      {!suspects.audit && !suspects.error && <Waiting />}
      {suspects.complete && shown.length === 0 && <p>No photos here.</p>}
      <Grid
        size={shown.length}
        current={at}
        follow={moved.current}
        label="Photos to check"
        columnsChanged={setColumns}
        card={(index) => {
          const each = shown[index];
          if (!each) return null;
          return (
            <Card
              key={each.file}
              index={index}
              entry={each}
              dataset={dataset}
              verdict={verdicts.get(each.file)}
              current={index === at}
              picked={picked.has(each.file)}
              choose={chooseLatest}
              open={openLarge}
            />
          );
        }}
      />
      {open === "large" && entry && (
        <Large
          entry={entry}
          dataset={dataset}
          verdict={verdicts.get(entry.file)}
          suspects={files}
          commands={commands}
          close={() => close("large")}
        />
      )}
      {open === "find" && <FindClass classes={allClasses} choose={relabel} close={() => close("find")} />}
      {open === "help" && <Help shortcuts={shortcuts} close={() => close("help")} />}
      {open === "send" && (
        <Send jobId={props.id} verdicts={verdicts} close={() => close("send")} />
      )}
    </>
  );
}
