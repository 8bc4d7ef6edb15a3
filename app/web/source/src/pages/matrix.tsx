import type { JSX, TargetedKeyboardEvent } from "preact";
import { Picture, Title, Trouble, Waiting, Wide } from "../parts/basics";
import { useLoaded } from "../load";
import type { Route } from "../router";
import { count, fileName, percent } from "../text";
import type { Classifier, Job, JobPredictions } from "../types";

/** Which classes are taken for which; each number opens its photos. */
export function Matrix(props: { id: string; route: Route }): JSX.Element {
  const job = useLoaded<Job>(`/jobs/${props.id}`);
  if (!job.value) return job.error ? <Trouble error={job.error} /> : <Waiting />;
  const { metrics, dataset, name, links } = job.value;
  const served = metrics?.[metrics.served ?? "tuned"];
  const classes = dataset.classes ?? [];
  const label = props.route.query.get("label");
  const predicted = props.route.query.get("predicted");
  return (
    <>
      <Title note={<a href={`#/jobs/${props.id}`}>Job {name}</a>}>Where it is wrong</Title>
      {served && <Weakest served={served} />}
      {served?.confusion ? (
        <Cells id={props.id} confusion={served.confusion} classes={classes} label={label} predicted={predicted} />
      ) : (
        <p>This job has no confusion matrix.</p>
      )}
      {label !== null && predicted !== null && links["predictions"] && (
        <Photos id={props.id} dataset={dataset.id} label={label} predicted={predicted} />
      )}
    </>
  );
}

function Weakest(props: { served: Classifier }): JSX.Element {
  const found = Object.entries(props.served.per_class ?? {})
    .filter((pair): pair is [string, number] => pair[1] !== null)
    .sort(([, a], [, b]) => a - b)
    .slice(0, 10);
  return (
    <section>
      <h2>Weakest classes</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">Class</th>
            <th scope="col">Accuracy</th>
            <th scope="col">95 % interval</th>
          </tr>
        </thead>
        <tbody>
          {found.map(([name, accuracy]) => {
            const interval = props.served.per_class_interval?.[name];
            return (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{percent(accuracy)}</td>
                <td>{interval && `${percent(interval[0], 0)} to ${percent(interval[1], 0)}`}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

function Cells(props: {
  id: string;
  confusion: number[][];
  classes: string[];
  label: string | null;
  predicted: string | null;
}): JSX.Element {
  const address = (label: string, predicted: string): string =>
    `#/jobs/${props.id}/matrix?${new URLSearchParams({ label, predicted }).toString()}`;
  return (
    <section>
      <h2>Confusion matrix</h2>
      <Wide label="Confusion matrix">
        <table class="matrix" onKeyDown={arrows}>
          <caption>
            Row: label; column: prediction. Open a number to see its photos; arrow keys lead to the
            next one.
          </caption>
          <thead>
            <tr>
              <th scope="col">Label</th>
              {props.classes.map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {props.confusion.map((row, at) => {
              const label = props.classes[at] ?? "";
              return (
                <tr key={label}>
                  <th scope="row">{label}</th>
                  {row.map((n, column) => {
                    const predicted = props.classes[column] ?? "";
                    const here = label === props.label && predicted === props.predicted;
                    return (
                      <td key={predicted} class={n && at !== column ? "wrong" : ""}>
                        {n > 0 && (
                          <a
                            href={address(label, predicted)}
                            aria-current={here ? "true" : undefined}
                            aria-label={`${n}: label ${label}, predicted ${predicted}`}
                          >
                            {n}
                          </a>
                        )}
                      </td>
                    );
                  })}
                </tr>
              );
            })}
          </tbody>
        </table>
      </Wide>
    </section>
  );
}

const steps: Record<string, readonly [number, number]> = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
};

/** Move the focus to the next number in the direction of the key. */
function arrows(event: TargetedKeyboardEvent<HTMLTableElement>): void {
  const cell = (event.target as HTMLElement).closest("td");
  const step = steps[event.key];
  if (!cell || !step) return;
  let row = (cell.parentElement as HTMLTableRowElement).rowIndex + step[0];
  let column = cell.cellIndex + step[1];
  for (;;) {
    const next = event.currentTarget.rows[row]?.cells[column];
    if (!next) return;
    const link = next.querySelector("a");
    if (link) {
      event.preventDefault();
      link.focus();
      return;
    }
    row += step[0];
    column += step[1];
  }
}

function Photos(props: {
  id: string;
  dataset: string;
  label: string;
  predicted: string;
}): JSX.Element {
  const { label, predicted } = props;
  const query = new URLSearchParams({ label, predicted, limit: "200" });
  const found = useLoaded<JobPredictions>(`/jobs/${props.id}/predictions?${query.toString()}`);
  if (!found.value) return found.error ? <Trouble error={found.error} /> : <Waiting />;
  const { entries } = found.value;
  return (
    <section aria-live="polite">
      <h2>
        {count(entries.length, "photo")} of {label}, predicted as {predicted}
      </h2>
      <ul class="grid small">
        {entries.map((entry) => (
          <li key={entry.file} class="card">
            <Picture dataset={props.dataset} number={entry.image} alt={entry.file} />
            <span class="name">{fileName(entry.file)}</span>
            <span class="quiet">{percent(entry.score, 0)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
