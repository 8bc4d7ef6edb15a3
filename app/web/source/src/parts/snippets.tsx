import type { JSX } from "preact";
import { address } from "../api";
import { useLoaded } from "../load";
import type { Session } from "../types";

/** Commands that classify with this model. The key itself is left out. */
export function Snippets(props: { model: string }): JSX.Element {
  const base = address("/").replace(/\/$/, "");
  const session = useLoaded<Session>("/session");
  if (!session.value) return <></>;
  const withKey = session.value.key_id !== null;
  const header = withKey ? '-H "Authorization: Bearer $DSPT_API_KEY" \\\n  ' : "";
  const shown = [
    [
      "curl",
      `curl ${header}-F model=${props.model} -F images=@photo.jpg ${base}/predict`,
    ],
    [
      "Python",
      `from dspt_client import Client\n\nwith Client("${base}") as client:\n    print(client.predict("${props.model}", ["photo.jpg"]).predictions)`,
    ],
    ["Shell", `dspt predict --url ${base} ${props.model} photo.jpg`],
  ] as const;
  return (
    <section>
      <h2>Use it</h2>
      {withKey && (
        <p class="quiet">
          Set <code>DSPT_API_KEY</code> to a key of yours before.
        </p>
      )}
      {shown.map(([name, text]) => (
        <figure key={name}>
          <figcaption>{name}</figcaption>
          <pre class="snippet" tabIndex={0}>
            {text}
          </pre>
        </figure>
      ))}
    </section>
  );
}
