import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import type { Pages } from "../pages";
import { Trouble, Waiting } from "./basics";

/** A list with a search by name, older items on demand, and states for loading, empty and error. */
export function List<T extends { id: string; name: string }>(props: {
  pages: Pages<T>;
  empty: ComponentChildren;
  row(item: T): ComponentChildren;
}): JSX.Element {
  const { pages } = props;
  const [text, setText] = useState("");
  const wanted = text.trim().toLowerCase();
  const found = pages.items?.filter(
    ({ name, id }) => name.toLowerCase().includes(wanted) || id === wanted,
  );
  return (
    <>
      {pages.error && <Trouble error={pages.error} retry={() => void pages.reload()} />}
      {!found && !pages.error && <Waiting />}
      {pages.items?.length === 0 && <p>{props.empty}</p>}
      {pages.items !== undefined && pages.items.length > 1 && (
        <input
          type="search"
          aria-label="Search by name"
          placeholder="Search by name"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      )}
      <ul class="cards">
        {found?.map((item) => (
          <li key={item.id}>{props.row(item)}</li>
        ))}
      </ul>
      {wanted && found?.length === 0 && <p role="status">No name contains “{text.trim()}”.</p>}
      {pages.more && <button onClick={() => void pages.loadMore()}>Load older ones</button>}
    </>
  );
}
