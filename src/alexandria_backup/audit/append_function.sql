CREATE OR REPLACE FUNCTION $function(
    p_key bytea, p_principal text, p_action text, p_agent text DEFAULT NULL,
    p_session text DEFAULT NULL, p_metadata text DEFAULT NULL, p_tenant_id text DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$append$$
DECLARE
    c_alphabet CONSTANT text := '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
    v_last text;
    v_last_hmac text;
    v_previous bytea := decode(repeat('00', 32), 'hex');
    v_created_at timestamptz;
    v_number numeric;
    v_floor numeric := 0;
    v_chance bytea;
    v_id text := '';
    v_block bytea := p_key;
    v_inner bytea;
    v_outer bytea;
    v_hmac bytea;
BEGIN
    IF p_key IS NULL OR length(p_key) < 16 THEN
        RAISE EXCEPTION 'the audit key must have at least 16 bytes';
    END IF;
    -- One writer at a time, until its transaction ends: the next one must see this row.
    PERFORM pg_advisory_xact_lock($lock);
    SELECT a.$id::text, a.$hmac::text INTO v_last, v_last_hmac
    FROM $table AS a ORDER BY a.$id::text COLLATE "C" DESC LIMIT 1;
    IF v_last IS NOT NULL THEN
        IF v_last_hmac IS NULL OR v_last_hmac !~ '^[0-9a-f]{64}$$' THEN
            RAISE EXCEPTION 'the newest row % has no HMAC in hex', v_last;
        END IF;
        IF v_last !~ '^[0-9A-HJKMNP-TV-Z]{26}$$' THEN
            RAISE EXCEPTION 'the id % is no ULID', v_last;
        END IF;
        v_previous := decode(v_last_hmac, 'hex');
        FOR i IN 1..26 LOOP
            v_floor := v_floor * 32 + strpos(c_alphabet, substr(v_last, i, 1)) - 1;
        END LOOP;
        v_floor := v_floor + 1;
    END IF;

    -- A ULID: 48 bits of milliseconds and 80 of chance, and greater than the last one.
    v_created_at := clock_timestamp();
    v_number := floor(extract(epoch FROM v_created_at) * 1000);
    v_chance := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
    FOR i IN 0..9 LOOP
        v_number := v_number * 256 + get_byte(v_chance, i);
    END LOOP;
    v_number := greatest(v_number, v_floor);
    FOR i IN 1..26 LOOP
        v_id := substr(c_alphabet, mod(v_number, 32)::int + 1, 1) || v_id;
        v_number := div(v_number, 32);
    END LOOP;

    -- HMAC-SHA256, as RFC 2104 has it.
    IF length(v_block) > 64 THEN
        v_block := sha256(v_block);
    END IF;
    v_block := v_block || decode(repeat('00', 64 - length(v_block)), 'hex');
    v_inner := v_block;
    v_outer := v_block;
    FOR i IN 0..63 LOOP
        v_inner := set_byte(v_inner, i, get_byte(v_block, i) # 54);
        v_outer := set_byte(v_outer, i, get_byte(v_block, i) # 92);
    END LOOP;
    v_hmac := sha256(v_outer || sha256(
        v_inner || '\x$domain'::bytea || $message || v_previous));

    INSERT INTO $table ($columns) VALUES ($values);
    RETURN v_id;
END
$$append$$;
