import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { Summary } from "../drop";
import { count, megabytes } from "../text";

/** Classes, counts and what will be left out, before anything is sent. */
export function Preview(props: { summary: Summary }): JSX.Element {
  const { classes, others, bytes, parts } = props.summary;
  const photos = classes.reduce((sum, one) => sum + one.files, 0);
  return (
    <section aria-label="What will be sent">
      <p>
        <strong>
          {count(photos, "photo")} in {count(classes.length, "class", "classes")}
        </strong>
        , {megabytes(bytes)}
        {parts.length > 0 && `; parts: ${parts.join(", ")}`}
      </p>
      <ul class="grid small">
        {classes.slice(0, 60).map((one) => (
          <li key={one.name} class="card">
            <Sample file={one.sample} name={one.name} />
            <span class="name">{one.name}</span>
            <span class={one.files < 4 ? "few" : "quiet"}>{count(one.files, "photo")}</span>
          </li>
        ))}
      </ul>
      {classes.length > 60 && <p class="quiet">The first 60 classes are shown.</p>}
      {others.length > 0 && (
        <details>
          <summary>{count(others.length, "file")} will be left out: no photo in a class folder</summary>
          <ul>
            {others.slice(0, 100).map((path) => (
              <li key={path}>
                <code>{path}</code>
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

function Sample(props: { file: File; name: string }): JSX.Element {
  const source = useMemo(() => URL.createObjectURL(props.file), [props.file]);
  useEffect(() => () => URL.revokeObjectURL(source), [source]);
  return (
    <img
      src={source}
      alt={`A photo of ${props.name}`}
      loading="lazy"
      decoding="async"
      onError={(event) => event.currentTarget.classList.add("missing")}
    />
  );
}
