import type { JSX } from "preact";
import type { Job } from "../types";
import { Sentence } from "./basics";

/** Why a job failed, with every file at fault. */
export function Failure(props: { error: NonNullable<Job["error"]> }): JSX.Element {
  const { message, param, problems = [] } = props.error;
  const lines = problems.map(({ where, message: text }) => (where ? `${where}: ${text}` : text));
  const copy = (): void => void navigator.clipboard.writeText([message, ...lines].join("\n"));
  return (
    <section class="trouble" role="alert">
      <h2>The job failed</h2>
      <p>
        {param && !message.startsWith(`${param}: `) && <code>{param}</code>}{" "}
        <Sentence text={message} />
      </p>
      {problems.length > 0 && (
        <>
          <table>
            <thead>
              <tr>
                <th scope="col">File or class</th>
                <th scope="col">Problem</th>
              </tr>
            </thead>
            <tbody>
              {problems.map((problem) => (
                <tr key={`${problem.where}${problem.code}`}>
                  <td>
                    <code>{problem.where || "whole data set"}</code>
                  </td>
                  <td>
                    <Sentence text={problem.message} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          <p>
            <button onClick={copy}>Copy the list</button> <a href="#/new">Send corrected photos</a>
          </p>
        </>
      )}
    </section>
  );
}
