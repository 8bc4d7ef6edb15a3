import type { JSX, TargetedEvent } from "preact";
import { useState } from "preact/hooks";
import { fromDrop, fromFiles, type Chosen } from "../drop";
import { Title } from "../parts/basics";
import { Ready } from "../parts/ready";

export function NewJob(): JSX.Element {
  const [chosen, setChosen] = useState<Chosen>();
  return (
    <>
      <Title note="One folder of photos for each class; the folder's name is the label.">
        New job
      </Title>
      {chosen ? (
        <Ready chosen={chosen} back={() => setChosen(undefined)} />
      ) : (
        <Drop take={setChosen} />
      )}
    </>
  );
}

function Drop(props: { take: (chosen: Chosen) => void }): JSX.Element {
  const [over, setOver] = useState(false);
  const [busy, setBusy] = useState(false);
  const dropped = async (event: DragEvent): Promise<void> => {
    event.preventDefault();
    setOver(false);
    if (!event.dataTransfer) return;
    setBusy(true);
    props.take(await fromDrop(event.dataTransfer));
  };
  const picked = (event: TargetedEvent<HTMLInputElement>): void => {
    const files = [...(event.currentTarget.files ?? [])];
    if (files.length) void fromFiles(files).then(props.take);
  };
  return (
    <div
      class={over ? "drop over" : "drop"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => void dropped(event)}
    >
      <p>
        <strong>{busy ? "Reading the folder ..." : "Drop a folder of photos or a zip here"}</strong>
      </p>
      <pre aria-label="Layout of the folder">
        {"photos/\n  cat/    1.jpg  2.jpg  ...\n  dog/    1.jpg  2.jpg  ..."}
      </pre>
      <p class="choices">
        <label class="button">
          Choose a folder
          <input type="file" {...{ webkitdirectory: true }} multiple onChange={picked} />
        </label>
        <label class="button">
          Choose a zip
          <input type="file" accept=".zip,application/zip" onChange={picked} />
        </label>
      </p>
      <p class="quiet">
        8 photos or more per class work best. Test photos go into <code>train/</code> and{" "}
        <code>test/</code> folders, if there are any.
      </p>
    </div>
  );
}
