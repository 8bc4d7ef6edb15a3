import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, post, put } from "../api";
import { useLoaded } from "../load";
import { day, percent } from "../text";
import type { Alias, AliasHistory, Model, Page } from "../types";
import { Trouble } from "./basics";
import { Dialog } from "./dialog";

/** Point an alias to this model, or back to the one before. */
export function Promote(props: { model: Model; changed: () => void }): JSX.Element {
  const { model } = props;
  const aliases = useLoaded<Page<Alias>>("/aliases?limit=100");
  const [name, setName] = useState("production");
  const [asked, setAsked] = useState(false);
  const [capture, setCapture] = useState("0");
  const [error, setError] = useState<ApiError>();
  const before = aliases.value?.data.find((alias) => alias.name === name);
  const old = useLoaded<Model>(asked && before ? `/models/${before.model_id}` : null);
  const run = async (call: () => Promise<unknown>): Promise<void> => {
    setError(undefined);
    setAsked(false);
    try {
      await call();
      props.changed();
      await aliases.reload();
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
    }
  };
  const move = (): Promise<unknown> =>
    put(`/aliases/${encodeURIComponent(name)}`, { model: model.id, capture: Number(capture) });
  return (
    <section>
      <h2>Promote</h2>
      {error && <Trouble error={error} />}
      <form
        class="choices"
        onSubmit={(event) => {
          event.preventDefault();
          setCapture(String(before?.capture ?? 0));
          setAsked(true);
        }}
      >
        <label>
          Alias
          <input
            value={name}
            required
            list="aliases"
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        <datalist id="aliases">
          {aliases.value?.data.map((alias) => <option key={alias.id} value={alias.name} />)}
        </datalist>
        <button class="main" disabled={before?.model_id === model.id}>
          Promote ...
        </button>
      </form>
      {before && (
        <History
          key={before.moved_at}
          name={name}
          rollBack={() => void run(() => post(`/aliases/${encodeURIComponent(name)}/rollback`))}
        />
      )}
      {asked && (
        <Dialog title={`Promote to ${name}`} close={() => setAsked(false)}>
          <p>
            Requests for <b>{name}</b> will be answered by <b>{model.name}</b> ({model.id})
            {before ? ` instead of ${old.value?.name ?? "the model"} (${before.model_id}).` : ". The alias is new."}
          </p>
          <p>
            <label>
              Photos to keep, to label them later
              <select
                value={capture}
                onChange={(event) => setCapture(event.currentTarget.value)}
              >
                {[...new Set([0, 0.01, 0.1, 1, before?.capture ?? 0])].sort().map((share) => (
                  <option key={share} value={String(share)}>
                    {share ? percent(share, share < 0.01 ? 2 : 0) : "None"}
                  </option>
                ))}
              </select>
            </label>
          </p>
          <button class="main" onClick={() => void run(move)}>
            Promote
          </button>
        </Dialog>
      )}
    </section>
  );
}

function History(props: { name: string; rollBack(): void }): JSX.Element | null {
  const found = useLoaded<AliasHistory>(`/aliases/${encodeURIComponent(props.name)}`);
  if (!found.value) return null;
  const { history } = found.value;
  return (
    <>
      <table>
        <caption>Moves of {props.name}, the newest first</caption>
        <thead>
          <tr>
            <th scope="col">When</th>
            <th scope="col">Model</th>
            <th scope="col">Key</th>
          </tr>
        </thead>
        <tbody>
          {history.map((move) => (
            <tr key={move.number}>
              <td>{day(move.moved_at)}</td>
              <td>
                {move.model_id ? <a href={`#/models/${move.model_id}`}>{move.model_id}</a> : "deleted"}
              </td>
              <td>{move.key_id ?? "this machine"}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {history[0]?.rollback_to != null && (
        <p>
          <button onClick={props.rollBack}>Roll back to the model before</button>
        </p>
      )}
    </>
  );
}
