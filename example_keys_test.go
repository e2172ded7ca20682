package cdn_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
	"example.com/huaweicloud/cdn/journal"
)

// exportDay returns the request of the examples.
func exportDay() *cdn.CreateExportTaskRequest {
	day := time.Date(2026, 11, 25, 0, 0, 0, 0, time.FixedZone("UTC+8", 8*60*60))
	return &cdn.CreateExportTaskRequest{Action: cdn.ActionReportsDetail, DomainNames: []string{"all"}, StartTime: day, EndTime: day.AddDate(0, 0, 1)}
}

// inFolder calls example with a folder that is removed afterwards.
func inFolder(example func(folder string) error) {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	err = example(folder)
	if err := errors.Join(err, os.RemoveAll(folder)); err != nil {
		log.Fatal(err)
	}
}

func ExampleCdnClient_ExportFile() {
	srv := cdntest.NewServer(cdntest.WithExportTime(0))
	defer srv.Close()
	client := srv.NewClient(cdn.WithListLag(0))
	inFolder(func(folder string) error {
		path := filepath.Join(folder, "traffic")
		task, err := client.ExportFile(context.Background(), exportDay(), path)
		if err != nil {
			return err
		}
		_, err = os.Stat(path)
		fmt.Println(task.Status, err)
		return nil
	})
	// Output: success <nil>
}

// A key has one task, also if several clients export it several times.
func ExampleWithExportKey() {
	srv := cdntest.NewServer(cdntest.WithExportTime(0))
	defer srv.Close()
	inFolder(func(folder string) error {
		for range 3 {
			records, err := journal.OpenDir(folder)
			if err != nil {
				return err
			}
			client := srv.NewClient(cdn.WithJournal(records), cdn.WithListLag(0))
			task, err := client.Export(context.Background(), exportDay(), cdn.WithExportKey("traffic/2026-11-25"))
			if err != nil {
				return err
			}
			fmt.Println(task.Status)
		}
		return nil
	})
	fmt.Println("tasks:", len(srv.Tasks()))
	// Output:
	// success
	// success
	// success
	// tasks: 1
}

func ExampleWithJournal() {
	srv := cdntest.NewServer(cdntest.WithExportTime(0))
	defer srv.Close()
	inFolder(func(folder string) error {
		records, err := journal.OpenDir(folder)
		if err != nil {
			return err
		}
		client := srv.NewClient(cdn.WithJournal(records), cdn.WithListLag(0))
		task, err := client.Export(context.Background(), exportDay(), cdn.WithExportKey("traffic/2026-11-25"))
		if err != nil {
			return err
		}
		fmt.Println(task.Status)
		return nil
	})
	// Output: success
}

// An operator frees a key whose task failed, so that the next Export makes a new one.
func ExampleCdnClient_SettleExport() {
	srv := cdntest.NewServer(cdntest.WithExportTime(0), cdntest.WithFailedExports())
	defer srv.Close()
	inFolder(func(folder string) error {
		records, err := journal.OpenDir(folder)
		if err != nil {
			return err
		}
		ctx, client := context.Background(), srv.NewClient(cdn.WithJournal(records), cdn.WithListLag(0))
		for range 2 {
			_, err = client.Export(ctx, exportDay(), cdn.WithExportKey("daily"))
			fmt.Println(errors.Is(err, cdn.ErrTaskFailed), len(srv.Tasks()))
		}
		if err := client.SettleExport(ctx, "daily", ""); err != nil {
			return err
		}
		_, err = client.Export(ctx, exportDay(), cdn.WithExportKey("daily"))
		fmt.Println(errors.Is(err, cdn.ErrTaskFailed), len(srv.Tasks()))
		return nil
	})
	// Output:
	// true 1
	// true 1
	// true 2
}

// No lag is needed if the list of the service shows a new task at once.
func ExampleWithListLag() {
	srv := cdntest.NewServer(cdntest.WithExportTime(0))
	defer srv.Close()
	client := srv.NewClient(cdn.WithListLag(0))
	task, err := client.Export(context.Background(), exportDay())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(task.Status)
	// Output: success
}

func ExampleWithLostCreateExpiry() {
	_, err := cdn.NewCdnClient(cdn.WithAKSK("ak", "sk"), cdn.WithLostCreateExpiry(20*time.Minute))
	fmt.Println(err)
	// Output: <nil>
}

func ExampleWithObserver() {
	srv := cdntest.NewServer()
	defer srv.Close()
	var requests, refused atomic.Int64
	client := srv.NewClient(cdn.WithObserver(cdn.Observer{
		Request: func(e cdn.RequestEvent) {
			requests.Add(1)
			if e.Throttled {
				refused.Add(1)
			}
		},
	}))
	if _, err := client.ListExportTasks(context.Background(), nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println(requests.Load(), "request,", refused.Load(), "refused")
	// Output: 1 request, 0 refused
}
