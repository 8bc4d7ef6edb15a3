import type { JSX } from "preact";
import { count, percent } from "../text";
import type { Classifier, Job, Metrics } from "../types";
import { Sentence } from "./basics";

type Part = "zero_shot" | "prompt" | "tuned";
const names: [Part, string][] = [
  ["zero_shot", "CLIP without tuning"],
  ["prompt", "Tuned prompt alone"],
  ["tuned", "Tuned"],
];
const untuned: typeof names = [
  ["zero_shot", "CLIP alone"],
  ["tuned", "CLIP with class means"],
];
const photosOf: Record<string, string> = {
  test: "test photos",
  val: "validation photos",
  held_out: "photos that tuning did not see",
};

/** Accuracy with its interval, what is served and why, and the share of wrong labels. */
export function Result(props: { job: Job; metrics: Metrics }): JSX.Element {
  const { metrics, job } = props;
  const rate = metrics.noise_rate;
  const images = metrics.tuned?.images;
  return (
    <section>
      <h2>Result</h2>
      {rate && (
        <p>
          About <strong>{percent(rate.estimate, 0)}</strong> of the labels are wrong (
          {percent(rate.low, 0)} to {percent(rate.high, 0)}).
        </p>
      )}
      <table>
        <caption>
          Accuracy on {images === undefined ? "" : `${images.toLocaleString("en")} `}
          {photosOf[metrics.measured_on ?? ""] ?? "photos"}
          {metrics.labels === "given" && ", by their given labels"}
        </caption>
        <thead>
          <tr>
            <th scope="col">Classifier</th>
            <th scope="col">Accuracy</th>
            <th scope="col">95 % interval</th>
          </tr>
        </thead>
        <tbody>
          {(job.config["tuning"] === "none" ? untuned : names).map(([part, name]) => (
            <Row
              key={part}
              name={name}
              found={metrics[part]}
              served={metrics.served === part}
            />
          ))}
        </tbody>
      </table>
      {metrics.why && (
        <p>
          <Sentence text={metrics.why} />
        </p>
      )}
      {job.dataset.rejected && job.dataset.rejected.length > 0 && (
        <details>
          <summary>{count(job.dataset.rejected.length, "file")} left out</summary>
          <ul>
            {job.dataset.rejected.map((one) => (
              <li key={one.file}>
                <code>{one.file}</code> {one.reason}
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

function Row(props: { name: string; found?: Classifier; served: boolean }): JSX.Element | null {
  const { accuracy, accuracy_interval: interval } = props.found ?? {};
  if (accuracy === undefined) return null;
  return (
    <tr>
      <th scope="row">
        {props.name}{" "}
        {props.served && <span class="badge succeeded">served</span>}
      </th>
      <td>{percent(accuracy)}</td>
      <td>{interval && `${percent(interval[0])} to ${percent(interval[1])}`}</td>
    </tr>
  );
}
