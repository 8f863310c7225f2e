DROP FUNCTION check_clock(timestamptz);
