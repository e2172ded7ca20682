package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/journal"
)

// settle does what the runbook tells an operator: it finds the key's task among the candidates by the file's content.
// If none is the key's, it frees the key once no request of it can arrive. It returns an error only if the machine of
// the operator fails.
func (j *job) settle(ctx context.Context, client *cdn.CdnClient, key int) error {
	operators, err := journal.OpenDir(filepath.Join(j.Folder, "operators"))
	if err != nil {
		return err
	}
	unlock, err := operators.Lock(ctx) // one operator at a time: another may have settled the key meanwhile
	if err != nil {
		return err
	}
	defer unlock()
	time.Sleep(2 * expiry) // until SendBy and the expiry have passed
	_, err = client.Export(ctx, requestOf(key), cdn.WithExportKey(nameOf(key)))
	var ambiguous *cdn.AmbiguousExportError
	if !errors.As(err, &ambiguous) {
		return nil // settled, or a failure that passes
	}
	chosen := ""
	for _, task := range ambiguous.Candidates {
		own, err := isOwn(ctx, client, task.TaskID, key)
		if err != nil {
			return nil //nolint:nilerr // the operator tries again
		}
		if own {
			chosen = task.TaskID
		}
	}
	err = client.SettleExport(ctx, nameOf(key), chosen)
	if j.Verbose {
		fmt.Printf("operator: key %d, candidates %d, chosen %q: %v\n", key, len(ambiguous.Candidates), chosen, err)
	}
	return nil
}

// isOwn reports whether the file of a task is the one of a key.
func isOwn(ctx context.Context, client *cdn.CdnClient, taskID string, key int) (bool, error) {
	if _, err := client.WaitForExportTask(ctx, taskID); err != nil {
		return false, err
	}
	var file bytes.Buffer
	if _, err := client.Download(ctx, taskID, &file); err != nil {
		return false, err
	}
	return bytes.Contains(file.Bytes(), []byte(","+domainOf(key)+",")), nil
}
