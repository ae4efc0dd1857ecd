import { hubspot } from '@hubspot/ui-extensions';
import { Card } from './Card';

hubspot.extend<'crm.record.sidebar'>(() => <Card />);
