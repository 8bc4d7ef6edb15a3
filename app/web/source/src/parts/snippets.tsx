import type { JSX } from "preact";
import { address } from "../api";

/** Commands that classify with this model. The key is left out: it is yours alone. */
export function Snippets(props: { model: string }): JSX.Element {
  const base = address("/").replace(/\/$/, "");
  const shown = [
    [
      "curl",
      `curl -H "Authorization: Bearer $DSPT_API_KEY" \\\n  -F model=${props.model} -F images=@photo.jpg ${base}/predict`,
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
