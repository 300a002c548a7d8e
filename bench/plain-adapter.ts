/** The plainest PostgreSQL adapter that the library's documentation allows: one table, one statement a call. */
import type { Adapter, AdapterPayload } from 'oidc-provider';
import type { Pool } from 'pg';

export const plainTable = `
  create table if not exists models (
    model text not null, id text not null, payload jsonb not null, grant_id text, user_code text, uid text,
    expires_at timestamptz, consumed_at timestamptz, primary key (model, id)
  );
  create index if not exists models_grant on models (grant_id);
  create index if not exists models_uid on models (uid);
  create index if not exists models_user_code on models (user_code);
  create table if not exists people (id text primary key, email text not null unique, password_hash text not null)`;

export function plainAdapter(pool: Pool): (model: string) => Adapter {
  return (model) => {
    const findBy = async (column: 'id' | 'uid' | 'user_code', value: string) => {
      const { rows } = await pool.query(
        `select payload, consumed_at from models where model = $1 and ${column} = $2 and (expires_at is null or expires_at > now())`,
        [model, value],
      );
      const [row] = rows as { payload: AdapterPayload; consumed_at: Date | null }[];
      return (
        row && { ...row.payload, ...(row.consumed_at && { consumed: Math.floor(row.consumed_at.getTime() / 1000) }) }
      );
    };
    return {
      async upsert(id, payload, expiresIn) {
        const expiresAt = expiresIn ? new Date(Date.now() + expiresIn * 1000) : null;
        await pool.query(
          `insert into models (model, id, payload, grant_id, user_code, uid, expires_at) values ($1, $2, $3, $4, $5, $6, $7)
           on conflict (model, id) do update set payload = excluded.payload, grant_id = excluded.grant_id,
           user_code = excluded.user_code, uid = excluded.uid, expires_at = excluded.expires_at`,
          [model, id, payload, payload.grantId ?? null, payload.userCode ?? null, payload.uid ?? null, expiresAt],
        );
      },
      find: (id) => findBy('id', id),
      findByUid: (uid) => findBy('uid', uid),
      findByUserCode: (userCode) => findBy('user_code', userCode),
      async consume(id) {
        await pool.query('update models set consumed_at = now() where model = $1 and id = $2', [model, id]);
      },
      async destroy(id) {
        await pool.query('delete from models where model = $1 and id = $2', [model, id]);
      },
      async revokeByGrantId(grantId) {
        await pool.query('delete from models where model = $1 and grant_id = $2', [model, grantId]);
      },
    };
  };
}
