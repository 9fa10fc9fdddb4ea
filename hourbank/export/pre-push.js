// Written by `hourbank export`: change the program instead, and export again.
//
// Before `amplify push`: brings the functions' archive to the environment's deployment bucket, where the template of
// custom/stepfunctions expects it. Amplify uploads templates, but no code of custom resources. By hand, or in a pipeline
// whose hooks are off: node amplify/hooks/NAME_OF_THIS_FILE ENVIRONMENT
//
// It needs the AWS CLI and the right to put objects into the bucket, with the profile that Amplify uses for this
// environment, or the credentials of the shell.

// import() is there in a CommonJS project and in one whose package.json says "type": "module"
const needed = ["crypto", "fs", "path", "child_process"].map((name) => import(`node:${name}`));
Promise.all(needed).then(([crypto, fs, path, { spawnSync }]) => {
  // a module has no __dirname; the script that runs, this one or the hook that imports it, is in the hooks' folder
  const amplify = path.dirname(typeof __dirname === "string" ? __dirname : path.dirname(process.argv[1]));
  const resource = path.join(amplify, "backend", "custom", "stepfunctions");

  function fail(message) {
    console.error(`hourbank: ${message}`);
    process.exit(1);
  }

  function json(...parts) {
    const file = path.join(amplify, ...parts);
    if (!fs.existsSync(file)) return undefined;
    try {
      return JSON.parse(fs.readFileSync(file, "utf8").replace(/^\uFEFF/, ""));
    } catch (error) {
      return fail(`${file} is not JSON: ${error.message}`);
    }
  }

  function environment() {
    if (process.argv[2]) return process.argv[2];
    let told;
    try {
      // Amplify tells hooks what it does on their standard input
      told = process.stdin.isTTY ? undefined : JSON.parse(fs.readFileSync(0, "utf8")).data.amplify.environment;
    } catch (error) {
      told = undefined;
    }
    const name = (told && told.envName) || (json(".config", "local-env-info.json") || {}).envName;
    return name || fail("which environment? run `amplify env checkout NAME`, or give its name");
  }

  function bucketOf(name) {
    const team = ((json("team-provider-info.json") || {})[name] || {}).awscloudformation;
    if (team && team.DeploymentBucketName) return team;
    // it knows one environment alone: that of the last checkout
    const current = (json(".config", "local-env-info.json") || {}).envName;
    const meta = ((json("backend", "amplify-meta.json") || {}).providers || {}).awscloudformation;
    if (current === name && meta && meta.DeploymentBucketName) return meta;
    return fail(`no deployment bucket of environment ${name} is known here: run \`amplify pull --envName ${name}\``);
  }

  // after `amplify remove custom`, and before it is registered, Amplify deploys none of it
  const config = json("backend", "backend-config.json") || fail(`${amplify} has no backend/backend-config.json`);
  if (!(config.custom || {}).stepfunctions) return;
  const template = json("backend", "custom", "stepfunctions", "stepfunctions-cloudformation-template.json");
  if (!template) fail(`${resource} has no template: run \`hourbank export amplify\``);
  const code = Object.values(template.Resources).find((one) => one.Type === "AWS::Lambda::Function").Properties.Code;
  const archive = path.join(resource, "hourbank-functions.zip");
  if (!fs.existsSync(archive)) fail(`${archive} is missing: run \`hourbank export amplify\``);
  const hash = crypto.createHash("sha256").update(fs.readFileSync(archive)).digest("hex");
  if (code.S3Key !== `hourbank/${hash}.zip`) {
    fail(`${archive} is not the archive that the template names: run \`hourbank export amplify\`, and commit both`);
  }

  const name = environment();
  const { DeploymentBucketName: bucket, Region: region } = bucketOf(name);
  const local = (json(".config", "local-aws-info.json") || {})[name] || {};
  // CloudWatch refuses it only when it makes an alarm, and a template cannot look into an ARN
  const parameters = json("backend", "custom", "stepfunctions", "parameters.json") || {};
  const team = (((json("team-provider-info.json") || {})[name] || {}).categories || {}).custom || {};
  const topic = String((team.stepfunctions || {}).AlarmTopicArn || parameters.AlarmTopicArn || "").split(":");
  if (region && topic.length > 3 && topic[3] !== region) {
    fail(`AlarmTopicArn is in ${topic[3]}, and an alarm in ${region} (environment ${name}) cannot tell it: make one there`);
  }
  const command = ["s3", "cp", archive, `s3://${bucket}/${code.S3Key}`, "--only-show-errors"];
  if (region) command.push("--region", region);
  if (local.useProfile && local.profileName) command.push("--profile", local.profileName);
  const upload = spawnSync("aws", command, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  if (upload.error) fail("the AWS CLI is not here, and the functions' archive cannot be uploaded: install it");
  if (upload.status !== 0) {
    const why = (upload.stderr || upload.stdout).trim().replace(/\s+/g, " ");
    const login = /locate credentials|config profile|(Expired|Invalid)Token|InvalidAccessKeyId|SSO (session|Token)/;
    let instead = "";
    if (/NoSuchBucket/.test(why)) instead = `: run \`amplify pull --envName ${name}\``;
    if (login.test(why)) instead = ": set AWS_PROFILE, or log in";
    fail(`the functions' archive could not be uploaded to ${bucket} (environment ${name}): ${why}${instead}`);
  }
  console.log(`hourbank: the functions' archive is in ${bucket} (environment ${name})`);
});
