/** OpenID Foundation, `oidcc-formpost-basic-certification-test-plan`: the Basic plan with response_mode=form_post. */
import { describe } from 'vitest';
import { testBasicModules } from './basic-modules.ts';

describe('Form Post OP (Basic)', () => testBasicModules('form_post'));
