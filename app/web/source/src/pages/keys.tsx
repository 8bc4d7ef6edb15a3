import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, del, post } from "../api";
import { Title, Trouble, Wide } from "../parts/basics";
import { Confirm } from "../parts/confirm";
import { usePages } from "../pages";
import { day } from "../text";
import type { CreatedKey, Key, Session } from "../types";

const SCOPES = {
  read: "Read and classify",
  submit: "Create, change and delete",
  metrics: "Read the metrics",
  admin: "Everything, for all owners",
};

/** Keys for admins: make, show once, revoke. */
export function Keys(props: { session?: Session }): JSX.Element {
  const keys = usePages<Key>("/keys", 0);
  const [made, setMade] = useState<CreatedKey>();
  const first = props.session?.key_id == null && keys.items?.length === 0;
  return (
    <>
      <Title note="A key lets a person or a program use this service, as one owner.">API keys</Title>
      {keys.error && <Trouble error={keys.error} />}
      {first && (
        <p>
          There is no key yet, so the service accepts your own programs on this machine only. Once a
          key exists, every request needs one, and this page asks you to sign in with it: give the
          first key the scope <b>Everything</b>.
        </p>
      )}
      {made && <Made made={made} />}
      <NewKey
        created={(key) => {
          setMade(key);
          // The first key ends the access without one, so the list may be refused.
          void keys.reload();
        }}
      />
      {keys.items !== undefined && keys.items.length > 0 && (
        <Wide label="All keys">
          <table>
            <thead>
              <tr>
                {["Name", "Owner", "Scopes", "Expires", "Last used", "State"].map((name) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {keys.items.map((key) => (
                <tr key={key.id}>
                  <th scope="row">{key.name}</th>
                  <td>{key.owner}</td>
                  <td>{key.scopes.join(", ")}</td>
                  <td>{key.expires_at ? day(key.expires_at) : "never"}</td>
                  <td>{key.last_used_at ? day(key.last_used_at) : "never"}</td>
                  <td>
                    {key.revoked_at ? (
                      "revoked"
                    ) : (
                      <Confirm
                        button="Revoke"
                        title={`Revoke ${key.name}`}
                        run={async () => {
                          await del(`/keys/${key.id}`);
                          await keys.reload();
                        }}
                      >
                        The key {key.id} will be refused at once. What was made with it stays.
                      </Confirm>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Wide>
      )}
      {keys.more && <button onClick={() => void keys.loadMore()}>Load older ones</button>}
    </>
  );
}

function Made(props: { made: CreatedKey }): JSX.Element {
  const { name, key } = props.made;
  return (
    <section class="card" aria-live="polite">
      <p>
        The key of <b>{name}</b>. It is shown only now; keep it secret.
      </p>
      <pre class="snippet" tabIndex={0}>
        {key}
      </pre>
      <button onClick={() => void navigator.clipboard.writeText(key)}>Copy</button>
    </section>
  );
}

function NewKey(props: { created: (key: CreatedKey) => void }): JSX.Element {
  const [error, setError] = useState<ApiError>();
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form);
    const text = (name: string): string => String(given.get(name) ?? "").trim();
    setError(undefined);
    try {
      const key = await post<CreatedKey>("/keys", {
        name: text("name"),
        owner: text("owner") || null,
        scopes: given.getAll("scopes"),
        expires_in_days: text("days") ? Number(text("days")) : null,
      });
      form.reset();
      props.created(key);
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
      <h2>New key</h2>
      <div class="fields">
        <label>
          Name
          <input name="name" required maxLength={100} />
        </label>
        <label>
          Owner
          <input name="owner" maxLength={100} placeholder="The name" />
        </label>
        <label>
          Days until it expires
          <input name="days" type="number" min={1} max={36500} placeholder="Never" />
        </label>
      </div>
      <fieldset class="choices">
        <legend>Scopes</legend>
        {Object.entries(SCOPES).map(([scope, meaning]) => (
          <label key={scope} class="check">
            <input
              type="checkbox"
              name="scopes"
              value={scope}
              defaultChecked={scope === "read" || scope === "submit"}
            />{" "}
            {meaning}
          </label>
        ))}
      </fieldset>
      {error && <Trouble error={error} />}
      <p>
        <button class="main">Create the key</button>
      </p>
    </form>
  );
}
