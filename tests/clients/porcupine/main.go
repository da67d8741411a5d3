// Checks a history of concurrent reads and writes for linearizability. Reads JSON lines from standard input, one operation
// each; says "linearizable" or which keys are not, and then ends with 1.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

// An operation of one client on one key. Values are unique numbers; 0: nothing is there.
type operation struct {
	Client int    `json:"client"`
	Key    string `json:"key"`
	// "get", "create", "update" or "delete"; the last two only if the key holds Expect.
	Op     string `json:"op"`
	Expect int    `json:"expect"`
	Value  int    `json:"value"`
	// "ok", "refused", or "unknown" when no answer came: it may have happened at any time since, or never.
	Result string `json:"result"`
	// Nanoseconds.
	Call   int64 `json:"call"`
	Return int64 `json:"return"`
}

// Whether an operation may have gone as it did in this state, and the state after it.
func step(state int, op operation) (bool, int) {
	if op.Op == "get" {
		return op.Result == "unknown" || state == op.Value, state
	}
	applies := state == op.Expect
	next := op.Value
	if op.Op == "delete" {
		next = 0
	}
	if op.Op != "create" && op.Expect == 0 {
		applies = false
	}
	switch op.Result {
	case "ok":
		return applies, next
	case "refused":
		return !applies, state
	}
	if applies {
		return true, next
	}
	return true, state
}

var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, each := range history {
			key := each.Input.(operation).Key
			byKey[key] = append(byKey[key], each)
		}
		parts := make([][]porcupine.Operation, 0, len(byKey))
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() interface{} { return 0 },
	Step: func(state, input, _ interface{}) (bool, interface{}) {
		return step(state.(int), input.(operation))
	},
}

func read() ([]porcupine.Operation, error) {
	var history []porcupine.Operation
	var end int64
	scanner := bufio.NewScanner(os.Stdin)
	for scanner.Scan() {
		var op operation
		if err := json.Unmarshal(scanner.Bytes(), &op); err != nil {
			return nil, err
		}
		end = max(end, op.Return)
		history = append(history, porcupine.Operation{ClientId: op.Client, Input: op, Call: op.Call, Return: op.Return})
	}
	for index := range history {
		if history[index].Input.(operation).Result == "unknown" {
			history[index].Return = end + 1
		}
	}
	return history, scanner.Err()
}

func main() {
	history, err := read()
	if err != nil {
		fmt.Fprintln(os.Stderr, "the history cannot be read:", err)
		os.Exit(2)
	}
	result := porcupine.CheckOperationsTimeout(model, history, time.Minute)
	if result == porcupine.Ok {
		fmt.Printf("linearizable: %d operations\n", len(history))
		return
	}
	fmt.Printf("%s: %d operations\n", map[porcupine.CheckResult]string{
		porcupine.Illegal: "not linearizable", porcupine.Unknown: "not decided in a minute"}[result], len(history))
	os.Exit(1)
}
