import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, post } from "../api";
import { Trouble } from "../parts/basics";
import { Dialog } from "../parts/dialog";
import { go } from "../router";
import { count } from "../text";
import type { Job } from "../types";
import type { Shortcut } from "./keys";
import type { Verdicts } from "./verdicts";

export function Help(props: { shortcuts: Shortcut[]; close(): void }): JSX.Element {
  return (
    <Dialog title="Keys" close={props.close}>
      <table>
        <tbody>
          {props.shortcuts.filter((each) => each.shown).map((each) => (
            <tr key={each.shown}>
              <th scope="row">
                <kbd>{each.shown}</kbd>
              </th>
              <td>{each.text}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Dialog>
  );
}

/** The service takes no new class that differs from another one in this only. */
const plain = (name: string): string => name.toLowerCase().replace(/[-_\s]+/g, " ");

export function FindClass(props: {
  classes: readonly string[];
  choose(label: string, isNew: boolean): void;
  close(): void;
}): JSX.Element {
  const [text, setText] = useState("");
  const wanted = text.trim().normalize(); // as the service stores names
  const found = props.classes.filter((name) => plain(name).includes(plain(wanted)));
  const known = props.classes.some((name) => name === wanted);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const [first] = found;
    if (known) props.choose(wanted, false);
    else if (first !== undefined) props.choose(first, false);
    else if (wanted) props.choose(wanted, true);
  };
  return (
    <Dialog title="Choose a class" close={props.close}>
      <form class="narrow" onSubmit={submit}>
        <label>
          Name
          <input
            autofocus
            value={text}
            maxLength={200}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
      </form>
      <p class="choices">
        {found.slice(0, 40).map((name) => (
          <button key={name} onClick={() => props.choose(name, false)}>
            {name}
          </button>
        ))}
        {wanted && !known && (
          <button class="main" onClick={() => props.choose(wanted, true)}>
            New class {wanted}
          </button>
        )}
      </p>
    </Dialog>
  );
}

/** What will be corrected, before a new job starts. */
export function Send(props: { jobId: string; verdicts: Verdicts; close(): void }): JSX.Element {
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const all = [...props.verdicts].map(([, verdict]) => verdict);
  const some = (action: string): number => all.filter((one) => one.action === action).length;
  const labels = new Map<string, number>();
  for (const { label } of all) if (label) labels.set(label, (labels.get(label) ?? 0) + 1);
  const send = async (): Promise<void> => {
    setBusy(true);
    try {
      const job = await post<Job>(`/jobs/${props.jobId}/corrections`, { review: true });
      go(`/jobs/${job.id}`);
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
      setBusy(false);
    }
  };
  return (
    <Dialog title="Tune again with these labels" close={props.close}>
      <ul>
        <li>{count(some("relabel"), "label")} changed</li>
        <li>{count(some("drop"), "photo")} dropped</li>
        <li>{count(some("keep"), "label")} confirmed</li>
      </ul>
      {labels.size > 0 && (
        <p class="quiet">
          New labels: {[...labels].map(([name, n]) => `${name} (${n})`).join(", ")}
        </p>
      )}
      {error && <Trouble error={error} />}
      <button class="main" disabled={busy || all.length === 0} onClick={() => void send()}>
        Start the job
      </button>
    </Dialog>
  );
}
