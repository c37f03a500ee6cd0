CREATE SCHEMA "Schema ü, 1"
--
CREATE TABLE "Schema ü, 1"."Tab ""x"" ä." ("B c" integer, "x,y" text, "(z)" bytea, "é""" timestamptz)
--
INSERT INTO "Schema ü, 1"."Tab ""x"" ä." VALUES
  (1, E'tab\t lf\n cr\r bs\b ff\f vt\v \\ \\N \\. ü €', '\x00ff5c0a', '2026-02-03 04:05:06.789+01'),
  (2, NULL, NULL, NULL), (3, '', '', 'infinity'), (4, '\N', '\x', '-infinity'),
  (5, E'\\.', NULL, '2026-01-01'), (6, E'\\.\n', NULL, '2026-01-01')
--
CREATE TABLE public.numbers AS
  SELECT n, md5(n::text) AS hash, repeat('x', n % 50) AS filler FROM generate_series(1, 30000) AS n
--
CREATE TABLE public.wide AS SELECT 1 AS id, repeat('0123456789', 300000) AS text
--
CREATE TABLE public.no_columns ()
--
INSERT INTO public.no_columns SELECT FROM generate_series(1, 7)
--
CREATE TABLE public.empty (id integer PRIMARY KEY, note text)
--
CREATE TABLE public.doubled (a integer, twice integer GENERATED ALWAYS AS (a * 2) STORED)
--
INSERT INTO public.doubled VALUES (1), (2)
--
CREATE TABLE public.parts (id integer, word text) PARTITION BY HASH (id)
--
CREATE TABLE public.parts_0 PARTITION OF public.parts FOR VALUES WITH (MODULUS 2, REMAINDER 0)
--
CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES WITH (MODULUS 2, REMAINDER 1)
--
INSERT INTO public.parts SELECT n, 'word ' || n FROM generate_series(1, 100) AS n
--
SELECT lo_from_bytea(4294967290, '\x00010203')
--
SELECT lo_from_bytea(2147483648, convert_to(repeat('large object ', 100000), 'UTF8'))
--
SELECT lo_create(4242)
--
CREATE SEQUENCE public.counter START 42
--
CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'
--
CREATE EVENT TRIGGER watcher ON ddl_command_end EXECUTE FUNCTION public.watch()
--
CREATE PUBLICATION everything FOR ALL TABLES
--
GRANT SELECT ("B c") ON "Schema ü, 1"."Tab ""x"" ä." TO "Archive, ""reader"" ü"
--
GRANT SELECT ON public.numbers TO PUBLIC
--
GRANT SELECT ON public.numbers TO archive_writer WITH GRANT OPTION
--
ALTER DEFAULT PRIVILEGES FOR ROLE archive_owner IN SCHEMA public
  GRANT SELECT ON TABLES TO server
--
ALTER TABLE public.empty OWNER TO archive_owner
--
ALTER TABLE public.numbers ENABLE ROW LEVEL SECURITY
--
CREATE POLICY looking ON public.numbers FOR SELECT TO archive_policy USING (hash <> 'TO nobody')
