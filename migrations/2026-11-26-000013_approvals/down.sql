DROP TABLE approval_rules;
DROP TABLE approval_events;
DROP TABLE approval_requests;
DROP FUNCTION changes_of_approval_requests();
