import { createRoot } from 'react-dom/client';
import 'hourbank-frontend/hourbank.css';
import './style.css';

// `npm start` is `vite --mode emulator`; anything else is Amplify's sign-in
const { start } = await (import.meta.env.MODE === 'emulator' ? import('./local') : import('./cloud'));
createRoot(document.getElementById('app')!).render(await start());
