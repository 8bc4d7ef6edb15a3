import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, get, post } from "../api";
import { Picture, Sentence, Title, Trouble, Waiting } from "../parts/basics";
import { useLoaded } from "../load";
import { replaceQuery, type Route } from "../router";
import { count, day, fileName, percent, points } from "../text";
import type { Comparison, Job, JobPredictions, Model, Page } from "../types";

/** Two models on the same photos, and the photos that only one of them gets right. */
export function Compare(props: { route: Route }): JSX.Element {
  const models = useLoaded<Page<Model>>("/models?limit=100");
  const a = props.route.query.get("a") ?? "";
  const b = props.route.query.get("b") ?? "";
  const choose = (side: "a" | "b"): JSX.Element => (
    <label>
      Model {side.toUpperCase()}
      <select
        value={side === "a" ? a : b}
        onChange={(event) => replaceQuery({ a, b, [side]: event.currentTarget.value })}
      >
        <option value="">Choose ...</option>
        {models.value?.data.map((one) => (
          <option key={one.id} value={one.id}>
            {one.name}, {day(one.created_at)}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <>
      <Title note="Both classify the test photos, or those that the jobs of both held out.">
        Compare two models
      </Title>
      {models.error && <Trouble error={models.error} />}
      <div class="fields wide-fields">
        {choose("a")}
        {choose("b")}
      </div>
      {a && b && a !== b && <Outcome key={`${a} ${b}`} a={a} b={b} />}
      {a && a === b && <p>Choose two different models.</p>}
    </>
  );
}

function Outcome(props: { a: string; b: string }): JSX.Element {
  const [found, setFound] = useState<Comparison>();
  const [error, setError] = useState<ApiError>();
  useEffect(() => {
    post<Comparison>("/models/compare", { a: props.a, b: props.b })
      .then(setFound)
      .catch((failed: unknown) => {
        if (!(failed instanceof ApiError)) throw failed;
        setError(failed);
      });
  }, []);
  if (!found) return error ? <Trouble error={error} /> : <Waiting />;
  const { a, b } = found;
  return (
    <>
      <p>
        <Sentence text={found.verdict} />
      </p>
      <table>
        <caption>
          On {count(found.images, "photo")}; both right on {found.both_right}, both wrong on{" "}
          {found.both_wrong}
        </caption>
        <thead>
          <tr>
            <th scope="col">Model</th>
            <th scope="col">Accuracy</th>
            <th scope="col">95 % interval</th>
            <th scope="col">Alone right</th>
          </tr>
        </thead>
        <tbody>
          {([["A", a, found.only_a_right], ["B", b, found.only_b_right]] as const).map(
            ([letter, side, alone]) => (
              <tr key={letter}>
                <th scope="row">
                  {letter}: <a href={`#/models/${side.model}`}>{side.name}</a>
                </th>
                <td>{percent(side.accuracy)}</td>
                <td>
                  {percent(side.accuracy_interval[0])} to {percent(side.accuracy_interval[1])}
                </td>
                <td>{alone}</td>
              </tr>
            ),
          )}
        </tbody>
      </table>
      <p>
        B is <strong>{points(found.difference)}</strong> against A, 95 % interval{" "}
        {points(found.difference_interval[0])} to {points(found.difference_interval[1])}; p ={" "}
        {found.p_value.toPrecision(2)} (McNemar's exact test).
      </p>
      <Classes comparison={found} />
      <Alone a={a.model} b={b.model} />
    </>
  );
}

function Classes(props: { comparison: Comparison }): JSX.Element {
  const rows = [...props.comparison.per_class].sort((x, y) => x.b - x.a - (y.b - y.a));
  return (
    <details>
      <summary>Class by class, the largest loss first</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">Class</th>
            <th scope="col">Photos</th>
            <th scope="col">A</th>
            <th scope="col">B</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.name}>
              <th scope="row">{row.name}</th>
              <td>{row.images}</td>
              <td>{percent(row.a)}</td>
              <td>{percent(row.b)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

interface Tested {
  dataset: Job["dataset"];
  right: Map<string, boolean>;
  numbers: Map<string, number | null | undefined>;
}

/** What a model's job measured, photo by photo; undefined for a model without a job. */
async function tested(modelId: string): Promise<Tested | undefined> {
  const model = await get<Model>(`/models/${modelId}`);
  if (!model.job_id) return undefined;
  const job = await get<Job>(`/jobs/${model.job_id}`);
  if (!job.links["predictions"]) return undefined;
  const right = new Map<string, boolean>();
  const numbers: Tested["numbers"] = new Map();
  let after: string | null | undefined = "";
  do {
    const path: string = `/jobs/${job.id}/predictions?limit=1000${after ? `&after=${after}` : ""}`;
    const page: JobPredictions = await get<JobPredictions>(path);
    for (const one of page.entries) {
      right.set(one.file, one.label === one.predicted);
      numbers.set(one.file, one.image);
    }
    after = page.next;
  } while (after);
  return { dataset: job.dataset, right, numbers };
}

/** Photos that only one of the two gets right, as far as the jobs of both have measured them. */
function Alone(props: { a: string; b: string }): JSX.Element | null {
  const [both, setBoth] = useState<[Tested, Tested] | null>();
  useEffect(() => {
    Promise.all([tested(props.a), tested(props.b)])
      .then(([a, b]) => setBoth(a && b && a.dataset.sha256 === b.dataset.sha256 ? [a, b] : null))
      .catch((failed: unknown) => {
        if (!(failed instanceof ApiError)) throw failed;
        setBoth(null); // the figures above stand without the photos
      });
  }, []);
  if (both === undefined) return <Waiting />;
  if (both === null) return null;
  const [a, b] = both;
  const files = [...a.right.keys()].filter((file) => a.right.get(file) !== b.right.get(file) && b.right.has(file));
  return (
    <>
      {([["A", a], ["B", b]] as const).map(([letter, side]) => {
        const alone = files.filter((file) => side.right.get(file));
        return (
          <section key={letter}>
            <h2>
              Only {letter} is right: {alone.length}
            </h2>
            <ul class="grid small">
              {alone.slice(0, 200).map((file) => (
                <li key={file} class="card">
                  <Picture dataset={side.dataset.id} number={side.numbers.get(file)} alt={file} />
                  <span class="name">{fileName(file)}</span>
                </li>
              ))}
            </ul>
          </section>
        );
      })}
    </>
  );
}
