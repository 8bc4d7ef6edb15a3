import type { JSX } from "preact";
import { count, day, percent } from "../text";
import type { Drift as Found } from "../types";
import { Sentence } from "./basics";

const rows = [
  ["low_confidence", "Answers with a probability below 50 %"],
  ["far", "Photos that differ more from the training photos than 95 % of the measured ones"],
] as const;

/** Whether the photos of production still look like those of the data set. */
export function Drift(props: { drift: Found; model: string }): JSX.Element {
  const { now, baseline, captured, since, reason } = props.drift;
  const share = (found: number | null | undefined): string =>
    typeof found === "number" ? percent(found) : "unknown";
  return (
    <section>
      <h2>Photos of production</h2>
      {reason && (
        <p>
          <Sentence text={reason} />
        </p>
      )}
      {now && (
        <table>
          <caption>
            {count(captured, "photo")} that this model classified
            {since && ` since ${day(since)}`}, beside the photos that accuracy was measured on
          </caption>
          <thead>
            <tr>
              <th scope="col">Share of photos</th>
              <th scope="col">Now</th>
              <th scope="col">Normal</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, text]) => (
              <tr key={name}>
                <th scope="row">{text}</th>
                <td>{share(now[name])}</td>
                <td>{share(baseline?.[name])}</td>
              </tr>
            ))}
            <tr>
              <th scope="row">Mean distance from the training photos, 0 to 2</th>
              <td>{now.distance?.toFixed(3) ?? "unknown"}</td>
              <td>{baseline?.distance?.toFixed(3) ?? "unknown"}</td>
            </tr>
          </tbody>
        </table>
      )}
      <p class="quiet">
        Far more than normal means other photos than in training: another camera, another light, a
        new class. <a href={`#/models/${props.model}/label`}>Label the most instructive ones</a>, and
        tune again with them.
      </p>
    </section>
  );
}
