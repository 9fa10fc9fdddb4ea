import { Authenticator } from '@aws-amplify/ui-react';
import '@aws-amplify/ui-react/styles.css';
import { Amplify, type ResourcesConfig } from 'aws-amplify';
import type { ReactElement } from 'react';
import { TimeBank } from './time-bank';

// a file that Amplify writes, and that need not be there
const [outputs] = Object.values(
  import.meta.glob<ResourcesConfig>('../amplify_outputs.json', { eager: true, import: 'default' }),
);

/** Signs in with Cognito, as the backend in `amplify/` says. */
export async function start(): Promise<ReactElement> {
  if (!outputs) return <p role="alert">There is no amplify_outputs.json. Type npx ampx sandbox, which writes it.</p>;
  Amplify.configure(outputs);
  return (
    <Authenticator>
      {({ user, signOut = () => {} }) => <TimeBank me={user!.userId} people={[]} signOut={signOut} />}
    </Authenticator>
  );
}
