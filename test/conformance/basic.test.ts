/** OpenID Foundation, `oidcc-basic-certification-test-plan`: client_secret_basic, response_type=code, default response mode. */
import { describe } from 'vitest';
import { testBasicModules } from './basic-modules.ts';

describe('Basic OP', () => testBasicModules('default'));
