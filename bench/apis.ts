/** The two APIs that every measured provider knows. */
export const apis = [
  { identifier: 'https://jwt.bench.example', scope: 'read', format: 'jwt' },
  { identifier: 'https://opaque.bench.example', scope: 'read', format: 'opaque' },
] as const;
