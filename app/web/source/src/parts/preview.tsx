import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Summary } from "../drop";
import { count, megabytes } from "../text";
import type { Item } from "../zip";
import { Own } from "./basics";

/** A class with fewer photos is tuned, but hardly measured. */
const FEW = 4;

/** Classes, counts and what will be left out, before anything is sent. */
export function Preview(props: { summary: Summary }): JSX.Element {
  const { classes, unlabelled, others, empty, bytes, parts } = props.summary;
  const untrained = classes.filter((one) => one.training === 0);
  const few = classes.filter((one) => one.training > 0 && one.training < FEW);
  const photos = classes.reduce((sum, one) => sum + one.files, 0);
  return (
    <section aria-label="What will be sent">
      <p>
        <strong>
          {count(photos, "photo")} in {count(classes.length, "class", "classes")}
        </strong>
        {unlabelled.length > 0 && `, ${unlabelled.length.toLocaleString("en")} more without labels`}
        , {megabytes(bytes)}
        {parts.length > 0 && `; parts: ${parts.join(", ")}`}
      </p>
      <ul class="grid small">
        {classes.slice(0, 60).map((one) => (
          <li key={one.name} class="card">
            <Sample item={one.sample} name={one.name} />
            <span class="name">{one.name}</span>
            <span class={one.training < FEW ? "few" : "quiet"}>{count(one.files, "photo")}</span>
          </li>
        ))}
        {unlabelled[0] && (
          <li class="card">
            <Sample item={unlabelled[0]} name="unlabelled" />
            <span class="name">Without labels</span>
            <span class="quiet">{count(unlabelled.length, "photo")}</span>
          </li>
        )}
      </ul>
      {classes.length > 60 && <p class="quiet">The first 60 classes are shown.</p>}
      <Problem
        text={`${count(untrained.length, "class", "classes")} without training photos`}
        names={untrained.map((one) => one.name)}
      />
      <Problem
        text={`${count(few.length, "class", "classes")} with fewer than ${FEW} training photos`}
        names={few.map((one) => one.name)}
      />
      <Problem text={`${count(empty.length, "photo")} without content`} names={empty} />
      <Problem
        text={`${count(others.length, "file")} will be left out: no photo in a class folder`}
        names={others}
      />
    </section>
  );
}

function Problem(props: { text: string; names: string[] }): JSX.Element | null {
  if (props.names.length === 0) return null;
  return (
    <details>
      <summary class="few">{props.text}</summary>
      <ul>
        {props.names.slice(0, 100).map((name) => (
          <li key={name}>
            <code>{name}</code>
          </li>
        ))}
      </ul>
    </details>
  );
}

function Sample(props: { item: Item; name: string }): JSX.Element {
  const [source, setSource] = useState("");
  useEffect(() => {
    let made = "";
    let left = false;
    const show = (photo: Blob): void => {
      if (left) return;
      made = URL.createObjectURL(photo);
      setSource(made);
    };
    // A damaged photo is shown as a missing one.
    props.item.open().then(show, () => show(new Blob()));
    return () => {
      left = true;
      URL.revokeObjectURL(made);
    };
  }, [props.item]);
  if (!source) return <span class="no-picture">{props.name}</span>;
  return <Own source={source} alt={`A photo of ${props.name}`} name={props.name} />;
}
