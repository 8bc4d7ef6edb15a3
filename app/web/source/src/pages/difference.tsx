import type { JSX } from "preact";
import { Picture, Sentence, Title, Trouble, Waiting } from "../parts/basics";
import { useLoaded } from "../load";
import { useNumbers } from "../numbers";
import { count, fileName, percent, points } from "../text";
import type { Job, JobChange, NoiseRate } from "../types";

/** What corrections changed: accuracy before and after, and every photo whose answer flipped. */
export function Difference(props: { id: string }): JSX.Element {
  const job = useLoaded<Job>(`/jobs/${props.id}`);
  if (!job.value) return job.error ? <Trouble error={job.error} /> : <Waiting />;
  const { change, dataset, name } = job.value;
  return (
    <>
      <Title note={<a href={`#/jobs/${props.id}`}>Job {name}</a>}>What changed</Title>
      {change ? (
        <Change change={change} dataset={dataset.id} />
      ) : (
        <p>This job corrects no other one, or it has not ended yet.</p>
      )}
    </>
  );
}

function Change(props: { change: JobChange; dataset: string }): JSX.Element {
  const { change } = props;
  const rate = (found: NoiseRate | null | undefined): string =>
    found ? percent(found.estimate, 0) : "unknown";
  const rows = [
    ["Before", change.before, rate(change.noise_rate_before)],
    ["After", change.after, rate(change.noise_rate_after)],
  ] as const;
  return (
    <>
      <p>
        <Sentence text={change.verdict} />
      </p>
      <table>
        <caption>
          On {count(change.images, "photo")} that both jobs were measured on, by the corrected labels
        </caption>
        <thead>
          <tr>
            <th scope="col">Job</th>
            <th scope="col">Accuracy</th>
            <th scope="col">95 % interval</th>
            <th scope="col">Wrong labels</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([title, side, wrong]) => (
            <tr key={title}>
              <th scope="row">{title}</th>
              <td>{percent(side.accuracy)}</td>
              <td>
                {percent(side.accuracy_interval[0])} to {percent(side.accuracy_interval[1])}
              </td>
              <td>{wrong}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p>
        Difference <strong>{points(change.difference)}</strong>, 95 % interval{" "}
        {points(change.difference_interval[0])} to {points(change.difference_interval[1])}; p ={" "}
        {change.p_value.toPrecision(2)} (McNemar's exact test).
      </p>
      <Flips title="Only right now" files={change.gained} dataset={props.dataset} />
      <Flips title="Only right before" files={change.lost} dataset={props.dataset} />
    </>
  );
}

function Flips(props: { title: string; files?: string[]; dataset: string }): JSX.Element {
  const files = props.files ?? [];
  const numbers = useNumbers(files.length ? props.dataset : null);
  return (
    <section>
      <h2>
        {props.title}: {files.length}
      </h2>
      <ul class="grid small">
        {files.slice(0, 200).map((file) => (
          <li key={file} class="card">
            <Picture dataset={props.dataset} number={numbers?.get(file)} alt={file} />
            <span class="name">{fileName(file)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
