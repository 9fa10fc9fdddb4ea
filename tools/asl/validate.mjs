// Validates the definitions on stdin, a JSON object by name, with both validators: each misses what the other finds.
import { readFileSync } from "node:fs";
import aslValidator from "asl-validator";
import service from "amazon-states-language-service";

const languageService = service.getLanguageService({});
let failed = false;

for (const [name, definition] of Object.entries(JSON.parse(readFileSync(0, "utf8")))) {
  const text = JSON.stringify(definition, null, 1);
  const document = service.TextDocument.create(`file:///${name}.asl.json`, "json", 1, text);
  const problems = await languageService.doValidation(document, languageService.parseJSONDocument(document));
  const findings = problems.map(({ message, range }) => {
    const state = text.split("\n").slice(0, range.start.line + 1).reverse().find((line) => /^ {2}"/.test(line));
    return `${message} (near ${(state ?? "the top").replace(/[":{ ]/g, "")}; amazon-states-language-service)`;
  });
  // a clone: it writes into what it is given
  for (const error of aslValidator(structuredClone(definition)).errors) {
    findings.push(`${error.Message} (asl-validator)`);
  }
  for (const finding of findings) console.log(`${name}: ${finding}`);
  failed ||= findings.length > 0;
}
process.exit(failed ? 1 : 0);
