package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// A sandbox is a server on which others seem to be at work.
type sandbox struct {
	*cdntest.Server
	stop func()
}

func startSandbox() (*sandbox, error) {
	server, err := cdntest.Listen()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var others sync.WaitGroup
	others.Go(func() { work(ctx, server) })
	return &sandbox{server, func() {
		cancel()
		others.Wait()
		server.Close()
	}}, nil
}

// options make a client of the sandbox that sees every change soon.
func (s *sandbox) options() []cdn.Option {
	return []cdn.Option{
		cdn.WithEndpoint(s.URL),
		cdn.WithAKSK(s.AK, s.SK),
		cdn.WithPollInterval(100*time.Millisecond, 100*time.Millisecond),
	}
}

// work creates tasks and takes each from waiting to its end, and then away, until ctx ends.
func work(ctx context.Context, server *cdntest.Server) {
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	id := func(n int) string { return fmt.Sprintf("sandbox-%04d", n) }
	set := func(n int, status cdn.ExportTaskStatus) {
		server.UpdateTask(id(n), func(task *cdn.ExportTask) { task.Status = status })
	}
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		server.AddTask(cdn.ExportTask{
			TaskID:   id(n),
			TaskName: fmt.Sprintf("traffic of site-%d.example.com", n%5),
			Status:   "waiting",
		}, []byte("time,domain,flux\n"))
		set(n-1, "processing")
		if (n-2)%4 == 0 {
			set(n-2, cdn.ExportTaskFail)
		} else {
			set(n-2, cdn.ExportTaskSuccess)
		}
		server.RemoveTask(id(n - 5))
	}
}
