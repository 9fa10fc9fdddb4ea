// Runs the cases on stdin, {definitions by name, cases: [{definition, input, answers}]}, in an interpreter of the state
// language, and prints what came of each. A Task's answers, {result} or {error, cause}, are given one after the other,
// the last one again and again.
import { readFileSync } from "node:fs";
import { StateMachine } from "aws-local-stepfunctions";

// Node 22 has it
Promise.withResolvers ??= () => {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

const { definitions, cases } = JSON.parse(readFileSync(0, "utf8"));

async function run({ definition, input, answers }) {
  const calls = [];
  const states = [];
  const answer = (state, given) => {
    const { error, cause, result } = answers[state][calls.filter(([one]) => one === state).length] ?? answers[state].at(-1);
    calls.push([state, given]);
    // it takes none but its own for a time-out
    if (error === "States.Timeout") return new Promise(() => {});
    if (error) throw Object.assign(new Error(cause), { name: error });
    return result;
  };
  const forEach = (value) => Object.fromEntries(Object.keys(answers).map((state) => [state, value(state)]));
  const overrides = {
    taskResourceLocalHandlers: forEach((state) => (given) => answer(state, given)),
    retryIntervalOverrides: forEach(() => 0),
  };
  // validate.mjs does it; here time-outs are of less than a second
  const machine = new StateMachine(definitions[definition], { validationOptions: { noValidate: true } });
  const { result, eventLogs } = machine.run(input, { overrides });
  const end = result.then(
    (output) => ({ status: "SUCCEEDED", output }),
    ({ cause }) => ({ status: "FAILED", error: cause.name }),
  );
  for await (const { type, state } of eventLogs) if (type === "StateEntered") states.push(state.name);
  return { ...(await end), states, calls };
}

console.log(JSON.stringify(await Promise.all(cases.map(run))));
