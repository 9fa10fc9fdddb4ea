// Written by `hourbank export`: change the program instead, and export again.
//
// In amplify/backend.ts:
//
//     import { addWorkflows, environmentOf } from './workflows/resource';
//
//     const backend = defineBackend({ auth, data });
//     addWorkflows(backend, {
//       environment: environmentOf(process.env['AWS_BRANCH'] ?? 'dev'),
//       startRequestsFrom: '2026-01-01T00:00:00Z', // the time of the first deployment
//     });
//
// What is deployed is template.json, with the code in hourbank-functions.zip, in a stack of the backend.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Token, type Stack } from 'aws-cdk-lib';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import type { ITable } from 'aws-cdk-lib/aws-dynamodb';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';

export interface WorkflowsOptions {
  /**
   * A part of every name, 1 to 15 lowercase letters and digits, beginning with a letter: one deployment per account,
   * region and environment.
   */
  environment: string;
  /** ISO 8601 time with offset; requests created before it are left alone. */
  startRequestsFrom: string;
  /** How long people have to answer where the request does not say: 60 to 2592000, by default 604800. */
  providerResponseTimeoutSeconds?: number | undefined;
  /** Days after which the auditor reports a service in progress that nobody has ended; by default 14. */
  confirmationDays?: number | undefined;
  /** Days that logs are kept; by default 30. */
  logRetentionDays?: number | undefined;
  /** SNS topic that every alarm tells; without it alarms only show in the console. */
  alarmTopicArn?: string | undefined;
  /** Permissions boundary of every role. */
  permissionsBoundaryArn?: string | undefined;
  /** KMS key of yours that the tables are encrypted with, where they are: the functions' roles get what they need. */
  tablesKmsKeyArn?: string | undefined;
  /** Another number lets an update that was rolled back be tried again; by default 1. */
  deploymentAttempt?: number | undefined;
}

/** What is used of Amplify's backend. */
export interface BackendWithData {
  createStack(name: string): Stack;
  data: { resources: { tables: Record<string, ITable> } };
}

interface Parameter {
  Default?: string | number;
  AllowedPattern?: string;
  AllowedValues?: number[];
  MinValue?: number;
  MaxValue?: number;
  Description: string;
  ConstraintDescription?: string;
}

/**
 * The environment of a branch, another one for each: its name, where that is legal, else what is legal of it and a part of
 * its hash.
 */
export function environmentOf(branch: string): string {
  const legal = branch.toLowerCase().replace(/[^a-z0-9]/g, '').replace(/^[0-9]+/, '');
  if (legal === branch && legal.length <= 15) return legal;
  return (legal.slice(0, 8) || 'b') + createHash('sha256').update(branch).digest('hex').slice(0, 7);
}

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** Adds the workflows to a backend whose data has the four models. */
export function addWorkflows(backend: BackendWithData, options: WorkflowsOptions): CfnInclude {
  const templateFile = here('./template.json');
  const declared: Record<string, Parameter> = JSON.parse(readFileSync(templateFile, 'utf8')).Parameters;
  const stack = backend.createStack('hourbank');
  const code = new Asset(stack, 'Code', { path: here('./hourbank-functions.zip') });
  const table = (model: string): ITable => {
    const found = backend.data.resources.tables[model];
    if (!found) throw new Error(`hourbank: the backend's data has no model ${model}`);
    return found;
  };
  const given: Record<string, string | number | undefined> = {
    Environment: options.environment,
    StartRequestsFrom: options.startRequestsFrom,
    ProviderResponseTimeoutSeconds: options.providerResponseTimeoutSeconds,
    ConfirmationDays: options.confirmationDays,
    LogRetentionDays: options.logRetentionDays,
    AlarmTopicArn: options.alarmTopicArn,
    PermissionsBoundaryArn: options.permissionsBoundaryArn,
    TablesKmsKeyArn: options.tablesKmsKeyArn,
    DeploymentAttempt: options.deploymentAttempt,
    ServiceRequestTableName: table('ServiceRequest').tableName,
    EscrowTableName: table('Escrow').tableName,
    UserBalanceTableName: table('UserBalance').tableName,
    TransactionLogTableName: table('TransactionLog').tableName,
    ServiceRequestStreamArn: table('ServiceRequest').tableStreamArn,
    CodeBucket: code.s3BucketName,
    CodeKey: code.s3ObjectKey,
  };
  const parameters = Object.fromEntries(
    Object.entries(declared).map(([name, parameter]) => {
      return [name, checked(name, parameter, given[name] ?? parameter.Default)];
    }),
  );
  if (Date.parse(options.startRequestsFrom) > Date.now()) {
    console.warn(`hourbank: startRequestsFrom is ${options.startRequestsFrom}: until then no request starts`);
  }
  return new CfnInclude(stack, 'Workflows', { templateFile, parameters });
}

/** Parameters are replaced before CloudFormation sees them, so what it would have refused is refused here. */
function checked(name: string, parameter: Parameter, value: string | number | undefined): string | number {
  if (value === undefined || !(Token.isUnresolved(value) || isLegal(parameter, value))) {
    const option = name.charAt(0).toLowerCase() + name.slice(1);
    const told = typeof value === 'string' ? `'${value}'` : value;
    throw new Error(`hourbank: ${option} is ${told}: ${parameter.ConstraintDescription ?? parameter.Description}`);
  }
  return value;
}

function isLegal({ AllowedPattern, AllowedValues, MinValue, MaxValue }: Parameter, value: string | number): boolean {
  if (typeof value === 'string') return !AllowedPattern || new RegExp(`^(?:${AllowedPattern})$`).test(value);
  if (AllowedValues) return AllowedValues.includes(value);
  return Number.isInteger(value) && value >= (MinValue ?? value) && value <= (MaxValue ?? value);
}
