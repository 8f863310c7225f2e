DROP TABLE promise_items, promises, dunning_action_items, dunning_actions;
ALTER TABLE clients DROP COLUMN dunning_scenario;
DROP TABLE dunning_scenarios;
