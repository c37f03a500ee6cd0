"""The statements that fill the stand-in's tables, in the order that foreign keys ask for.

Each takes the same parameters, in the order of `PARAMETERS`, as the one row of `g`. What looks like
chance is a hash of the row's number and the seed.
"""

#: What each statement is given.
PARAMETERS = ("seed", "users", "agents", "tools", "sessions", "messages", "documents", "licenses")

_GIVEN = """
WITH g AS (
    SELECT %s::bigint AS seed, %s::bigint AS users, %s::bigint AS agents, %s::bigint AS tools,
        %s::bigint AS sessions, %s::bigint AS messages, %s::bigint AS documents,
        %s::bigint AS licenses, timestamptz '2026-01-01 00:00:00+00' AS epoch
)
"""

_USERS = """
INSERT INTO public.users (email, display_name, role, preferences, created_at)
SELECT 'user' || i || '@example.org', 'User Nº ' || i,
    (CASE WHEN i %% 50 = 1 THEN 'admin' WHEN i %% 7 = 0 THEN 'viewer' ELSE 'member' END)
        ::public.user_role,
    jsonb_build_object('theme', (ARRAY['dark', 'light'])[1 + i %% 2], 'beta', i %% 3 = 0),
    g.epoch + i * interval '7 minutes'
FROM g, generate_series(1, g.users) AS i
"""

_AGENTS = """
INSERT INTO public.agents (owner_id, name, model, instructions, updated_at)
SELECT 1 + i %% g.users, 'agent ' || i, 'model-' || i %% 4,
    'Answer briefly; cite documents. ' || md5(g.seed || ' agent ' || i),
    g.epoch + i * interval '1 hour'
FROM g, generate_series(1, g.agents) AS i
"""

_TOOLS = """
INSERT INTO public.tools (name, definition, enabled)
SELECT 'tool_' || i,
    jsonb_build_object('type', 'function', 'parameters', jsonb_build_object('limit', i * 10)),
    i %% 5 > 0
FROM g, generate_series(1, g.tools) AS i
"""

_AGENT_TOOLS = """
INSERT INTO public.agent_tools (agent_id, tool_id)
SELECT i, j FROM g, generate_series(1, g.agents) AS i, generate_series(1, g.tools) AS j
WHERE (i + j + g.seed) %% 4 = 0
"""

_SESSIONS = """
INSERT INTO public.sessions (id, user_id, agent_id, title, started_at, ended_at)
SELECT md5(g.seed || ' session ' || i)::uuid,
    1 + (hashint8extended(i, g.seed) & 2147483647) %% g.users,
    1 + (hashint8extended(i, g.seed + 1) & 2147483647) %% g.agents,
    'Session ' || i,
    g.epoch + i * interval '11 seconds',
    CASE WHEN i %% 10 > 0 THEN g.epoch + (i + 90) * interval '11 seconds' END
FROM g, generate_series(1, g.sessions) AS i
"""

_MESSAGES = r"""
INSERT INTO public.messages (session_id, role, content, metadata, created_at)
SELECT md5(g.seed || ' session ' || (1 + i %% g.sessions))::uuid,
    (CASE i %% 3 WHEN 0 THEN 'user' WHEN 1 THEN 'assistant' ELSE 'tool' END)::public.message_role,
    repeat('Wie groß ist der Bestand? ', (1 + (h & 7))::integer) || md5(h::text),
    CASE WHEN i %% 4 = 0 THEN jsonb_build_object('tokens', h & 1023, 'path', E'C:\\tmp\t') END,
    g.epoch + i * interval '1 second'
FROM g, generate_series(1, g.messages) AS i,
    LATERAL (SELECT hashint8extended(i, g.seed) AS h) AS hashed
"""

# Every tenth of the first hundred documents has an attachment, under a number that is no chance.
_DOCUMENTS = r"""
INSERT INTO public.documents (owner_id, title, body, checksum, labels, attachment, updated_at)
SELECT 1 + i %% g.users, 'Document ' || i, body, sha256(convert_to(body, 'UTF8')),
    CASE WHEN i %% 3 = 0 THEN ARRAY['draft', 'quarter ' || i %% 4] ELSE '{}' END,
    CASE WHEN i <= 100 AND i %% 10 = 1
        THEN lo_from_bytea((4200000 + i)::oid, decode(repeat(md5(body), 400), 'hex')) END,
    g.epoch + i * interval '3 minutes'
FROM g, generate_series(1, g.documents) AS i,
    LATERAL (SELECT md5(g.seed || ' document ' || i) || E' line\n' AS line) AS one,
    LATERAL (SELECT repeat(line, 1 + (i %% 9)::integer) AS body) AS whole
"""

_LICENSES = """
INSERT INTO public.licenses (tier, seats, expires_at)
SELECT CASE WHEN i = g.licenses THEN 'enterprise' ELSE 'trial' END, (25 * i * i)::integer,
    timestamptz '2030-01-01 00:00:00+00' + i * interval '1 year'
FROM g, generate_series(1, g.licenses) AS i
"""

#: By the table that they fill.
STATEMENTS = {
    table: _GIVEN + statement
    for table, statement in {
        "users": _USERS,
        "agents": _AGENTS,
        "tools": _TOOLS,
        "agent_tools": _AGENT_TOOLS,
        "sessions": _SESSIONS,
        "messages": _MESSAGES,
        "documents": _DOCUMENTS,
        "licenses": _LICENSES,
    }.items()
}
